//! Parsing in a child process. This binary is both sides: called with `parse-worker` it is the
//! child, with a parser that fails in every way a parser can; else it runs the cases. That is why
//! it has no harness: a harness writes to stdout, which belongs to the protocol.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

use ragstone_ingest::parse::{ChildParser, InProcess, ParseError, ParseLimits, ParsedDocument, Parser, TextFormat, serve_child_with};
use std::io::{Write, stderr, stdin, stdout};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Parses as usual unless the name asks for a failure.
struct Faulty;

impl Parser for Faulty {
    fn parse(&self, name: &str, bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
        match name {
            "panic" => panic!("the wick is out"),
            "abort" => std::process::abort(),
            "exit" => std::process::exit(7),
            "overflow" => Ok(giant(usize::try_from(dive(1)).unwrap_or(0))),
            "loop" => loop {
                std::hint::spin_loop();
            },
            "sleep" => loop {
                std::thread::park();
            },
            "memory" => Ok(giant(vec![1u8; 3 << 30].len())),
            "giant" => Ok(giant(40 << 20)),
            "chatter" => {
                let _ = stderr().write_all(&[b'x'; 1 << 20]);
                InProcess.parse("a.txt", bytes)
            }
            "environment" => Ok(ParsedDocument { text: std::env::vars().map(|(name, _)| name).collect(), ..giant(0) }),
            _ => InProcess.parse(name, bytes),
        }
    }
}

fn giant(bytes: usize) -> ParsedDocument {
    let text = "x".repeat(bytes);
    ParsedDocument {
        media_type: String::new(),
        format: TextFormat::Plain,
        text,
        title: None,
        headings: vec![],
        pages: vec![],
        page_count: None,
        warnings: vec![],
        attachments: vec![],
    }
}

#[allow(unconditional_recursion, reason = "to overflow the stack")]
fn dive(depth: u64) -> u64 {
    std::hint::black_box([depth; 64])[0] + dive(depth + 1) + 1
}

fn parser(limits: ParseLimits) -> ChildParser {
    ChildParser::new(std::env::current_exe().unwrap(), vec!["parse-worker".into()], limits)
}

fn parse(name: &str, bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let started = Instant::now();
    let result = parser(ParseLimits { timeout_ms: 20_000, memory_bytes_max: 1 << 30, output_bytes_max: 16 << 20 }).parse(name, bytes);
    assert!(started.elapsed() < Duration::from_secs(20), "{name} took {:?}", started.elapsed());
    result
}

fn a_good_document_is_what_it_is_in_process() {
    for (name, bytes) in [
        ("a.md", "# 灯塔\n\ntext\0 with NUL\r\n".as_bytes()),
        ("a.csv", b"a,b\n1,2\n"),
        ("a.json", b"{"),
        ("empty.txt", b""),
        ("a.bin", b"\x7fELF\0\0"),
    ] {
        assert_eq!(parse(name, bytes), InProcess.parse(name, bytes), "{name}");
    }
    let large = "One line of many.\n".repeat(200_000);
    assert_eq!(parse("large.txt", large.as_bytes()).unwrap().text, large);
}

fn a_crash_is_an_error_with_its_cause() {
    for (name, cause, words) in [
        ("panic", "exit code 1", "the wick is out"),
        ("abort", "signal 6", ""),
        ("exit", "exit code 7", ""),
        ("overflow", "stack overflow", "overflowed"),
    ] {
        match parse(name, b"x") {
            Err(ParseError::Crashed { how, stderr }) => assert!(how == cause && stderr.contains(words), "{name}: {how}: {stderr}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn limits_hold() {
    assert_eq!(parse("memory", b"x"), Err(ParseError::OutOfMemory { bytes_max: 1 << 30 }));
    assert_eq!(parse("giant", b"x"), Err(ParseError::TooLarge { what: "the extracted text".into(), bytes_max: 16 << 20 }));
    let limits = ParseLimits { timeout_ms: 300, ..ParseLimits::default() };
    for (name, bytes) in [("loop", vec![0; 10]), ("sleep", vec![0; 10]), ("sleep", vec![0; 10 << 20])] {
        let started = Instant::now();
        assert_eq!(parser(limits).parse(name, &bytes), Err(ParseError::Timeout { timeout_ms: 300 }), "{name}");
        assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

/// No parent that kills: the child alone, with a request written by hand.
fn processor_time_ends_a_child_that_nobody_watches() {
    let mut child =
        Command::new(std::env::current_exe().unwrap()).arg("parse-worker").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let head: Vec<u8> = [1000u64, 1 << 30, 1 << 20, 4, 1].into_iter().flat_map(u64::to_le_bytes).collect();
    child.stdin.take().unwrap().write_all(&[&head[..], b"loop", b"x"].concat()).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(24), "SIGXCPU");
}

fn noise_on_stderr_blocks_nobody() {
    assert_eq!(parse("chatter", b"text").unwrap().text, "text");
}

fn the_environment_stays_behind() {
    assert!(std::env::vars().next().is_some(), "the parent has an environment");
    assert_eq!(parse("environment", b"x").unwrap().text, "");
}

fn a_missing_program_is_no_fault_of_the_document() {
    let missing = ChildParser::new("/nonexistent/program".into(), vec![], ParseLimits::default());
    assert!(matches!(missing.parse("a.txt", b"x"), Err(ParseError::Unavailable { .. })));
}

fn no_child_is_left_behind() {
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(std::process::id())
    });
    assert_eq!(children.count(), 0);
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("parse-worker") {
        std::process::exit(i32::from(serve_child_with(&Faulty, stdin().lock(), stdout().lock()).is_err()));
    }
    let cases: &[(&str, fn())] = &[
        ("a_good_document_is_what_it_is_in_process", a_good_document_is_what_it_is_in_process),
        ("a_crash_is_an_error_with_its_cause", a_crash_is_an_error_with_its_cause),
        ("limits_hold", limits_hold),
        ("processor_time_ends_a_child_that_nobody_watches", processor_time_ends_a_child_that_nobody_watches),
        ("noise_on_stderr_blocks_nobody", noise_on_stderr_blocks_nobody),
        ("the_environment_stays_behind", the_environment_stays_behind),
        ("a_missing_program_is_no_fault_of_the_document", a_missing_program_is_no_fault_of_the_document),
        ("no_child_is_left_behind", no_child_is_left_behind),
    ];
    for (name, case) in cases {
        case();
        println!("test {name} ... ok");
    }
}
