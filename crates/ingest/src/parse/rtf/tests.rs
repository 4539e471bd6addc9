//! Small files, each with one feature, and some that were made to break readers.

use super::*;

fn parsed(rtf: &[u8]) -> ParsedDocument {
    parse(rtf).unwrap()
}

fn text(rtf: &str) -> String {
    parsed(rtf.as_bytes()).text
}

#[test]
fn paragraphs_headings_and_what_is_skipped() {
    let rtf = r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fcharset0 Times;}}{\colortbl;\red0;}
{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}{\s2 Heading 2;}{\*\cs10 Default Font;}}
{\info{\title The Lamp}{\author Nobody}}{\header page head}{\*\generator Some 1.0;}
\pard\s1 Lam{\b p}\par\pard\plain It turns\~once in {\i nine} seconds.{\v secret}{\footnote Or ten.}\par
{\pict\wmetafile8 0123456789abcdef}\pard\s2 Oil\par \pard Colza,\line or whale.\par{\object{\*\objdata 0105}{\result Result}}}";
    let document = parsed(rtf.as_bytes());
    assert_eq!(document.text, "# Lamp\n\nIt turns once in nine seconds. (Or ten.)\n\n## Oil\n\nColza,\nor whale.\n\nResult\n");
    assert_eq!((document.title.as_deref(), document.media_type.as_str()), (Some("The Lamp"), "application/rtf"));
    let levels: Vec<_> = document.headings.iter().map(|heading| (heading.level, heading.title.as_str())).collect();
    assert_eq!(levels, [(1, "Lamp"), (2, "Oil")]);
    assert!(document.warnings.is_empty());
}

#[test]
fn characters_come_in_every_spelling() {
    assert_eq!(text(r"{\rtf1\ansi H\'e4\u223\'dfe \u-10179?\u-8701? \u8364 E \{x\}\\ \emdash \'80}"), "Häße 😃 € {x}\\ —€\n");
    assert_eq!(text(r"{\rtf1\uc2\u28783\'b5\'c6{\uc0\u22612}!}"), "灯塔!\n");
    assert_eq!(text(r"{\rtf1\ansi\ansicpg1251 \'cc\'e0\'ff\'ea}"), "Маяк\n");
    assert_eq!(
        text(
            r"{\rtf1\ansi{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset128 B;}{\f2\fcharset204 C;}}\f1 \'93\'94\'91\'e4 {\f2 \'cc\'e0} \f0 \'e4}"
        ),
        "灯台 Ма ä\n"
    );
}

#[test]
fn lists_tables_and_links() {
    let rtf = r#"{\rtf1 Before\par{\listtext\'b7\tab}one\par{\listtext\'b7\tab}two\par{\pntext 3.\tab}three\par
\trowd\cellx1\cellx2\pard\intbl Oil\cell Price|x\cell\row\trowd\intbl Colza\par wick\cell 9\cell\row\pard
See {\field{\*\fldinst{HYPERLINK "https://example.org/a"}}{\fldrslt{\ul there}}} and {\field{\*\fldinst PAGE}{\fldrslt 7}}.\par}"#;
    assert_eq!(
        text(rtf),
        "Before\n\n- one\n- two\n3. three\n\n| Oil | Price\\|x |\n| --- | --- |\n| Colza wick | 9 |\n\nSee [there](https://example.org/a) and 7.\n"
    );
}

#[test]
fn broken_and_hostile_files_end() {
    let cut = parsed(br"{\rtf1 kept {\b too");
    assert_eq!((cut.text.as_str(), cut.warnings.len()), ("kept too\n", 1));
    assert!(matches!(parse(&b"{".repeat(100_000)), Err(ParseError::Unsupported { detected }) if detected.contains("1024 groups")));
    assert_eq!(parsed(br"{\rtf1 a}}}}}\uc99999999999 \u99999 \bin-5 b\bin99999999 c").text, "ab\n");
    assert_eq!(text(&format!("{{\\rtf1 {}x}}", "a\\cell ".repeat(50_000))).lines().count(), 4);
}

proptest::proptest! {
    #[test]
    fn nothing_makes_it_panic(pieces in proptest::collection::vec(proptest::sample::select(vec![
        "{", "}", "\\*", "\\rtf1", "\\stylesheet", "\\s1", "\\fonttbl", "\\f1", "\\fcharset128", "\\uc3", "\\u-1", "\\'8", "\\'81", "\\cell", "\\row",
        "\\intbl", "\\pard", "\\par", "\\field", "\\fldinst", "\\fldrslt", "HYPERLINK \"https://x\"", "\\listtext", "\\bin2", "\\outlinelevel300", " x ", "\u{e9}",
    ]), 0..40)) {
        let _ = parse(pieces.concat().as_bytes());
    }
}
