//! What a document says about its own encoding: HTML, XML, Python and editors' coding lines,
//! CSS, LaTeX.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How far the beginning is searched for a declared encoding, in bytes.
const DECLARATION_BYTES: usize = 1024;
/// Emacs and Python look at the first two lines.
const CODING_LINES: usize = 2;

/// The declared encoding of bytes that are not UTF-8.
pub(super) fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let start = bytes.get(..DECLARATION_BYTES.min(bytes.len()))?.to_ascii_lowercase();
    let start = String::from_utf8_lossy(&start);
    let label = in_markup(&start).or_else(|| in_coding_line(&start)).or_else(|| in_latex(&start))?;
    // bytes that are not UTF-8 stay so, whatever they declare; and wide encodings have no ASCII to declare in
    Encoding::for_label(label.as_bytes()).filter(|encoding| ![UTF_8, UTF_16LE, UTF_16BE].contains(encoding))
}

/// `<meta charset=…>`, `<meta content="text/html; charset=…">`, `<?xml encoding=…?>`, `@charset "…"`.
fn in_markup(start: &str) -> Option<String> {
    let start = start.trim_start();
    if let Some(value) = start.strip_prefix("@charset") {
        return label(value);
    }
    if !start.starts_with('<') {
        return None;
    }
    let xml = start.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).and_then(|(head, _)| head.split_once("encoding"));
    xml.or_else(|| start.split_once("charset")).and_then(|(_, value)| label(value.trim_start().strip_prefix('=')?))
}

/// `# -*- coding: latin-1 -*-`, `# vim: fileencoding=cp1251`, as PEP 263 has it.
fn in_coding_line(start: &str) -> Option<String> {
    start.lines().take(CODING_LINES).find_map(|line| {
        let (_, value) = line.split_once("coding")?;
        label(value.strip_prefix([':', '='])?).map(|label| editors_name(&label))
    })
}

/// Names of Python and Emacs that the registry of encodings doesn't have.
fn editors_name(label: &str) -> String {
    let label = label.trim_end_matches("-unix").trim_end_matches("-dos").trim_end_matches("-mac").replace('_', "-");
    match label.strip_prefix("cp") {
        Some("932") => "shift_jis".to_owned(),
        Some("936") => "gbk".to_owned(),
        Some("949") => "euc-kr".to_owned(),
        Some("950") => "big5".to_owned(),
        _ => match label.as_str() {
            "latin-1" => "latin1".to_owned(),
            "japanese-shift-jis" | "sjis" | "shift-jis" => "shift_jis".to_owned(),
            "euc-japan" => "euc-jp".to_owned(),
            "chinese-big5" => "big5".to_owned(),
            "cyrillic-koi8" => "koi8-r".to_owned(),
            _ => label,
        },
    }
}

/// `\usepackage[latin1]{inputenc}`.
fn in_latex(start: &str) -> Option<String> {
    let (before, _) = start.split_once("]{inputenc}")?;
    let (_, option) = before.rsplit_once('[')?;
    Some(match option {
        "ansinew" => "windows-1252".to_owned(),
        "latin9" => "iso-8859-15".to_owned(),
        _ => option.to_owned(),
    })
}

fn label(value: &str) -> Option<String> {
    let value = value.trim_start().trim_start_matches(['"', '\'']);
    let label: String = value.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.:".contains(*c)).collect();
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_declare_is_read() {
        for (start, name) in [
            ("<!doctype html><meta http-equiv=content-type content='text/html; charset=Shift_JIS'>", Some("Shift_JIS")),
            ("<html><META CHARSET = \"koi8-r\">", Some("KOI8-R")),
            ("<?xml version='1.0' encoding='iso-8859-2'?><a charset='koi8-r'/>", Some("ISO-8859-2")),
            ("@charset \"windows-1250\";", Some("windows-1250")),
            ("#!/usr/bin/python\n# -*- coding: latin-1 -*-\n", Some("windows-1252")),
            ("; -*- mode: lisp; coding: euc-jp-unix -*-", Some("EUC-JP")),
            ("# vim: set fileencoding=cp1251 :", Some("windows-1251")),
            ("# coding: cp949", Some("EUC-KR")),
            ("\\documentclass{article}\n\\usepackage[latin2]{inputenc}", Some("ISO-8859-2")),
            ("<meta charset=utf-8>", None),
            ("<?xml version=\"1.0\" encoding=\"UTF-16\"?>", None),
            ("the charset=koi8-r of prose", None),
            ("1\n2\n# coding: koi8-r in the third line", None),
        ] {
            assert_eq!(declared(start.as_bytes()).map(Encoding::name), name, "{start}");
        }
    }
}
