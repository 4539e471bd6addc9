//! `fuzz_parsers SECONDS [SEED] [CORPUS]`: changes the files of a folder at random and has child
//! processes parse them, as a server would. Ends with 1 if a parser crashed; what it crashed on is
//! kept in `fuzz-crashes/`. Running into a limit of time, memory or size is no crash.
//! `fuzz_parsers parse-worker` is the child.
//!
//! CORPUS (all files below it are seeds) is `tests/fixtures` by default. The same seed and corpus
//! make the same files.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

#[path = "../../../tests/support/mutate.rs"]
mod mutate;

use mutate::Chance;
use ragstone_ingest::parse::{ChildParser, ParseError, ParseLimits, Parser, decode_answer, serve_child};
use std::collections::BTreeMap;
use std::io::{self, Read, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Larger files are cut: many small tries find more than few large ones.
const SEED_BYTES_MAX: usize = 256 << 10;
/// Time for one file: enough for any of these, and a hang costs little.
const TIMEOUT_MS: u64 = 4_000;
const CRASHES: &str = "fuzz-crashes";

/// Words that formats take seriously.
const DICTIONARY: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"-1",
    b"0",
    b"99999999999999999999",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\r\n",
    b"\n\n",
    b"<",
    b">",
    b"</",
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"<!DOCTYPE d [<!ENTITY a \"b\">]>",
    b"&a;",
    b"&#0;",
    b"&#x10FFFF;",
    b"<w:tbl>",
    b"</w:p>",
    b"<table>",
    b"<tr>",
    b"<td colspan=99999>",
    b"<div>",
    b"<svg>",
    b"<a href=",
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"%PDF-1.4",
    b"xref",
    b"trailer",
    b"endobj",
    b"stream\n",
    b"endstream",
    b"/Kids[1 0 R]",
    b"/Filter/FlateDecode",
    b"/Length 0",
    b"<<",
    b">>",
    b"BT",
    b"Tj",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"\\u",
    b"\\",
    b",",
    b";",
    b"\t",
    b"|",
    b"```",
    b"> ",
    b"- ",
    b"# ",
    b"---\n",
    b"\xf0\x9f\x92\xa1",
    b"\xe2\x80\xae",
    b"\xed\xa0\x80",
    b"From: a@b\n",
    b"Content-Type: multipart/mixed; boundary=b\n\n--b\n",
    b"=?utf-8?B?",
    b"{\\rtf1",
    b"\\bin9999 ",
];

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "parse-worker") {
        return serve_child(stdin().lock(), stdout().lock()).map(|()| ExitCode::SUCCESS);
    }
    let number = |at: usize| arguments.get(at).and_then(|argument| argument.parse::<u64>().ok());
    let Some(seconds) = number(0) else {
        println!("usage: fuzz_parsers SECONDS [SEED] [CORPUS]");
        return Ok(ExitCode::from(2));
    };
    let seed = number(1).unwrap_or(1);
    let corpus = arguments.get(2).map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures"), PathBuf::from);
    let seeds = seeds(&corpus)?;
    println!("{} files below {}, seed {seed}, {seconds} s", seeds.len(), corpus.display());
    fuzz(&seeds, Chance(seed), Instant::now() + Duration::from_secs(seconds))
}

fn fuzz(seeds: &[(String, Vec<u8>)], mut chance: Chance, deadline: Instant) -> io::Result<ExitCode> {
    let limits = ParseLimits { timeout_ms: TIMEOUT_MS, ..ParseLimits::default() };
    let parser = ChildParser::start(std::env::current_exe()?, vec!["parse-worker".to_owned()], limits, 1)?;
    println!("parse sandbox: {}", parser.sandbox().map_err(io::Error::other)?);
    let mut outcomes = BTreeMap::<&str, u64>::new();
    let (mut tried, mut slowest) = (0, Duration::ZERO);
    while Instant::now() < deadline {
        let (name, bytes) = changed(seeds, &mut chance);
        // the parent's side reads it too, as an answer
        let _ = decode_answer(&bytes);
        let began = Instant::now();
        let result = parser.parse(&name, &bytes);
        slowest = slowest.max(began.elapsed());
        *outcomes.entry(result.as_ref().map_or_else(ParseError::code, |_| "ready")).or_default() += 1;
        tried += 1;
        if let Err(error @ (ParseError::Crashed { .. } | ParseError::Timeout { .. } | ParseError::OutOfMemory { .. })) = &result {
            keep(&name, &bytes, tried, error)?;
        }
    }
    println!("{tried} files, slowest {slowest:?}: {outcomes:?}");
    Ok(if outcomes.contains_key("crashed") { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What met a limit is kept too: it may be worth a look.
fn keep(name: &str, bytes: &[u8], tried: u64, error: &ParseError) -> io::Result<()> {
    let path = Path::new(CRASHES).join(format!("{}-{tried}-{name}", error.code()));
    std::fs::create_dir_all(CRASHES)?;
    std::fs::write(&path, bytes)?;
    println!("{}: {error}", path.display());
    if let ParseError::Crashed { stderr, .. } = error {
        println!("{stderr}");
    }
    Ok(())
}

/// Name and first bytes of every file below a folder, in order.
fn seeds(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let (mut seeds, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                let mut bytes = std::fs::read(&path)?;
                // The list of what is in an archive is at its end.
                if !bytes.starts_with(b"PK") {
                    bytes.truncate(SEED_BYTES_MAX);
                }
                seeds.push((name.to_owned(), bytes));
            }
        }
    }
    seeds.sort();
    Ok(seeds)
}

/// A seed with some changes, now and then under another seed's name.
fn changed(seeds: &[(String, Vec<u8>)], chance: &mut Chance) -> (String, Vec<u8>) {
    let (name, mut bytes) = chance.one(seeds).cloned().unwrap_or_default();
    let other = chance.one(seeds).cloned().unwrap_or_default();
    // What is packed is hardly ever reached by changing the archive.
    let inside = if chance.below(4) == 0 { None } else { changed_inside(&bytes, chance) };
    match inside {
        Some(repacked) => bytes = repacked,
        None => chance.change_some(&mut bytes, &other.1, DICTIONARY),
    }
    (if chance.below(16) == 0 { other.0 } else { name }, bytes)
}

/// A ZIP archive with one of its files changed; `None` if it is no ZIP archive.
fn changed_inside(bytes: &[u8], chance: &mut Chance) -> Option<Vec<u8>> {
    let mut archive = zip::ZipArchive::new(io::Cursor::new(bytes)).ok()?;
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).ok()?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).ok()?;
        files.push((file.name().ok()?.into_owned(), content));
    }
    let other = chance.one(&files)?.1.clone();
    let at = chance.below(files.len());
    chance.change_some(&mut files.get_mut(at)?.1, &other, DICTIONARY);
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in files {
        writer.start_file(name, stored).ok()?;
        writer.write_all(&content).ok()?;
    }
    Some(writer.finish().ok()?.into_inner())
}
