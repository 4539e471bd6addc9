//! Parsing in child processes. This binary is both sides: called with `parse-worker` it is a
//! child, with a parser that fails in every way a parser can; else it runs the cases. That is why
//! it has no harness: a harness writes to stdout, which belongs to the protocol.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

use ragstone_ingest::parse::{
    Attachment, ChildParser, InProcess, ParseError, ParseLimits, ParsedDocument, Parser, TextFormat, serve_child_with,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{self, Write, stderr, stdin, stdout};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything may take, so that a hang fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);
const LIMITS: ParseLimits = ParseLimits { timeout_ms: 20_000, memory_bytes_max: 512 << 20, output_bytes_max: 16 << 20 };

/// Parses as usual unless the name asks for something else.
struct Faulty;

impl Parser for Faulty {
    fn parse(&self, name: &str, bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
        match name {
            "panic" => panic!("the wick is out"),
            "abort" => std::process::abort(),
            "exit" => std::process::exit(7),
            "overflow" => Ok(said("x".repeat(usize::try_from(dive(1)).unwrap_or(0)))),
            "loop" => loop {
                std::hint::spin_loop();
            },
            "sleep" => loop {
                std::thread::park();
            },
            "memory" => Ok(said(vec![1u8; 3 << 30].len())),
            "hoard" => Ok(said(std::hint::black_box(Vec::leak(vec![1u8; 100 << 20])).len())),
            "giant" => Ok(said("x".repeat(40 << 20))),
            "chatter" => {
                let _ = stderr().write_all(&[b'x'; 1 << 20]);
                InProcess.parse("a.txt", bytes)
            }
            "nonsense" => forge(b"a child that was taken over"),
            "unavailable" => Err(ParseError::Unavailable { reason: "have me tried again".into() }),
            "environment" => Ok(said(std::env::vars().map(|(name, _)| name).collect::<String>())),
            "pid" => Ok(said(std::process::id())),
            "break out" => Ok(said(break_out(&String::from_utf8_lossy(bytes)))),
            "attach" => {
                let attachments =
                    [vec![], (0..=255).collect(), vec![7; 8 << 20]].map(|bytes| Attachment { name: "a\"\n.bin".into(), bytes });
                Ok(ParsedDocument { attachments: attachments.into(), ..said("with attachments") })
            }
            _ => InProcess.parse(name, bytes),
        }
    }
}

fn said(text: impl ToString) -> ParsedDocument {
    ParsedDocument {
        media_type: String::new(),
        format: TextFormat::Plain,
        text: text.to_string(),
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

/// Writes a frame of its own past the protocol.
fn forge(content: &[u8]) -> ! {
    // around stdout's lock, which the side that serves holds
    let _ = rustix::io::write(stdout(), &[&(content.len() as u64).to_le_bytes()[..], content].concat());
    loop {
        std::thread::park();
    }
}

/// What became of each try to get out, as `what: ErrorKind` or `what: done`, one a line.
fn break_out(target: &str) -> String {
    let tries: [(&str, io::Result<()>); 9] = [
        ("read a file", File::open("/etc/passwd").map(|_| ())),
        ("list a folder", fs::read_dir("/").map(|_| ())),
        ("write a file", File::create(target).map(|_| ())),
        ("remove a file", fs::remove_file("/etc/passwd-that-is-not-there")),
        ("connect", TcpStream::connect("127.0.0.1:9").map(|_| ())),
        ("open a port", UdpSocket::bind("127.0.0.1:0").map(|_| ())),
        ("run a program", Command::new("/bin/true").status().map(|_| ())),
        ("signal another", kill_process(Pid::INIT, Signal::CONT).map_err(io::Error::from)),
        ("lift a limit", lift().map_err(io::Error::from)),
    ];
    tries
        .map(|(what, result)| format!("{what}: {}\n", result.map_or_else(|error| format!("{:?}", error.kind()), |()| "done".into())))
        .concat()
}

fn lift() -> rustix::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::As, Rlimit { current: Some(1 << 40), maximum: Some(1 << 40) })
}

fn parser(limits: ParseLimits, children: usize) -> ChildParser {
    ChildParser::start(std::env::current_exe().unwrap(), vec!["parse-worker".into()], limits, children).unwrap()
}

fn parse(name: &str, bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let started = Instant::now();
    let result = parser(LIMITS, 1).parse(name, bytes);
    assert!(started.elapsed() < Duration::from_secs(20), "{name} took {:?}", started.elapsed());
    result
}

/// The process that parses next.
fn pid(parser: &ChildParser) -> String {
    parser.parse("pid", b"x").unwrap().text
}

fn eventually(mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "it did not come true");
        std::thread::yield_now();
    }
}

fn a_good_document_is_what_it_is_in_process() {
    let parser = parser(LIMITS, 1);
    for (name, bytes) in [
        ("a.md", "# 灯塔\n\ntext\0 with NUL\r\n".as_bytes()),
        ("a.csv", b"a,b\n1,2\n"),
        ("a.json", b"{"),
        ("empty.txt", b""),
        ("a.bin", b"\x7fELF\0\0"),
    ] {
        assert_eq!(parser.parse(name, bytes), InProcess.parse(name, bytes), "{name}");
    }
    let large = "One line of many.\n".repeat(200_000);
    assert_eq!(parser.parse("large.txt", large.as_bytes()).unwrap().text, large);
    let attached = parser.parse("attach", b"x").unwrap();
    assert_eq!(attached, Faulty.parse("attach", b"x").unwrap());
}

fn a_crash_is_an_error_with_its_cause() {
    let parser = parser(LIMITS, 1);
    for (name, cause, words) in [
        ("panic", "exit code 1", "the wick is out"),
        ("abort", "signal 6", ""),
        ("exit", "exit code 7", ""),
        ("overflow", "stack overflow", "overflowed"),
        ("nonsense", "an answer that is none", ""),
        ("unavailable", "an answer that is none", ""),
    ] {
        match parser.parse(name, b"x") {
            Err(ParseError::Crashed { how, stderr }) => assert!(how == cause && stderr.contains(words), "{name}: {how}: {stderr}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(parser.parse("a.txt", b"the next document").unwrap().text, "the next document", "after {name}");
    }
}

fn limits_hold() {
    assert_eq!(parse("memory", b"x"), Err(ParseError::OutOfMemory { bytes_max: LIMITS.memory_bytes_max }));
    assert_eq!(parse("giant", b"x"), Err(ParseError::TooLarge { what: "the extracted text".into(), bytes_max: 16 << 20 }));
    let parser = parser(ParseLimits { timeout_ms: 300, ..LIMITS }, 1);
    for (name, bytes) in [("loop", vec![0; 10]), ("sleep", vec![0; 10]), ("sleep", vec![0; 10 << 20])] {
        let started = Instant::now();
        assert_eq!(parser.parse(name, &bytes), Err(ParseError::Timeout { timeout_ms: 300 }), "{name}");
        assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

/// No parent that kills: the child alone, with a request written by hand.
fn processor_time_ends_a_child_that_nobody_watches() {
    let mut child =
        Command::new(std::env::current_exe().unwrap()).arg("parse-worker").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let head: Vec<u8> = [512 << 20, 1u64 << 20, 1000, 4, 1].into_iter().flat_map(u64::to_le_bytes).collect();
    child.stdin.take().unwrap().write_all(&[&head[..], b"loop", b"x"].concat()).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(24), "SIGXCPU");
}

fn noise_on_stderr_blocks_nobody() {
    let parser = parser(LIMITS, 1);
    for _ in 0..3 {
        assert_eq!(parser.parse("chatter", b"text").unwrap().text, "text");
    }
    // what was said about one document is not said about the next
    assert!(matches!(parser.parse("exit", b"x"), Err(ParseError::Crashed { stderr, .. }) if stderr.is_empty()));
}

fn the_environment_stays_behind() {
    assert!(std::env::vars().count() > 1, "the parent has an environment");
    assert_eq!(parse("environment", b"x").unwrap().text, "MALLOC_ARENA_MAX");
}

fn there_is_no_way_out() {
    let target = std::env::temp_dir().join(format!("ragstone-break-out-{}", std::process::id()));
    let parser = parser(LIMITS, 1);
    let sandbox = parser.sandbox().unwrap();
    println!("  in force: {sandbox}");
    let tried = parser.parse("break out", target.to_str().unwrap().as_bytes()).unwrap().text;
    assert_eq!(tried.lines().count(), 9, "{tried}");
    let is_held = |line: &str| !line.ends_with(": done") && (!sandbox.seccomp || line.ends_with(": PermissionDenied"));
    // without seccomp the limit on open files refuses all but signals, and root its own limits
    for line in tried.lines().filter(|line| sandbox.seccomp || !line.contains("signal") && !line.contains("lift")) {
        assert!(is_held(line), "{line}, in force: {sandbox}");
    }
    assert!(!target.exists());
    let files = fs::read_dir(format!("/proc/{}/fd", pid(&parser))).unwrap().count();
    assert_eq!(files, 3 + left_open(), "a child holds nothing but its three pipes");
}

/// Files of this process that each of its children has too: what its own parent left open.
fn left_open() -> usize {
    let files = fs::read_dir("/proc/self/fdinfo").unwrap().map(|entry| entry.unwrap());
    let is_left = |file: &fs::DirEntry| {
        let info = fs::read_to_string(file.path()).unwrap_or_default();
        let flags = info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
        let number: i32 = file.file_name().to_str().unwrap().parse().unwrap();
        number > 2 && flags.is_some_and(|flags| flags & libc::O_CLOEXEC == 0)
    };
    files.filter(is_left).count()
}

fn a_child_is_used_again_until_it_is_used_up() {
    let parser = parser(LIMITS, 1);
    let pids: Vec<String> = (0..200).map(|_| pid(&parser)).collect();
    let runs: Vec<usize> = pids.chunk_by(|a, b| a == b).map(<[String]>::len).collect();
    assert_eq!(runs, [64, 64, 64, 8]);
    for last in ["hoard", "panic", "giant", "memory"] {
        let before = pid(&parser);
        let _ = parser.parse(last, b"x");
        assert_eq!(before == pid(&parser), last == "giant", "after {last}");
    }
}

fn a_child_that_died_in_its_sleep_costs_no_document() {
    let parser = parser(LIMITS, 1);
    for signal in [Signal::KILL, Signal::TERM] {
        let idle = pid(&parser);
        kill_process(Pid::from_raw(idle.parse().unwrap()).unwrap(), signal).unwrap();
        assert_ne!(pid(&parser), idle);
    }
}

fn documents_are_parsed_at_the_same_time() {
    let parser = parser(LIMITS, 3);
    let is_done = |at: usize| parser.parse("a.txt", format!("document {at}").as_bytes()).unwrap().text == format!("document {at}");
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|reader| scope.spawn(move || (0..40).all(|at| is_done(reader * 1000 + at)))).collect();
        assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
    });
    assert!(children().len() <= 3, "{:?}", children());
}

/// The kernel kills the children of a parent that is gone, also those that are at work.
fn children_do_not_outlive_their_parent() {
    let program = std::env::current_exe().unwrap();
    let parent = Command::new(program).arg("parent").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let output = parent.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(6), "it aborts with its child at work");
    let child = String::from_utf8(output.stdout).unwrap();
    assert!(!child.is_empty());
    eventually(|| is_gone(&child));
}

fn is_gone(pid: &str) -> bool {
    // a zombie that its new parent has not yet reaped runs no more
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

/// Starts a child, has it parse for ever, and ends without saying goodbye.
fn be_a_parent_that_crashes() {
    let parser = parser(LIMITS, 1);
    let child = pid(&parser);
    print!("{child}");
    stdout().flush().unwrap();
    std::thread::spawn(move || parser.parse("sleep", b"x"));
    eventually(|| fs::read_dir(format!("/proc/{child}/task")).unwrap().count() == 2);
    std::process::abort();
}

fn a_missing_program_is_no_fault_of_the_document() {
    for (program, arguments) in [("/nonexistent/program", vec![]), ("/bin/true", vec![]), ("/bin/echo", vec!["x".repeat(100)])] {
        let missing = ChildParser::start(program.into(), arguments, ParseLimits::default(), 2).unwrap();
        for _ in 0..3 {
            assert!(matches!(missing.parse("a.txt", b"x"), Err(ParseError::Unavailable { .. })), "{program}");
        }
    }
}

fn no_child_is_left_behind() {
    assert_eq!(children(), Vec::<String>::new());
}

fn children() -> Vec<String> {
    let stats = fs::read_dir("/proc").unwrap().flatten().map(|entry| fs::read_to_string(entry.path().join("stat")).unwrap_or_default());
    let is_child = |stat: &String| {
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(std::process::id())
    };
    stats.filter(is_child).collect()
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("parse-worker") => std::process::exit(i32::from(serve_child_with(&Faulty, stdin().lock(), stdout().lock()).is_err())),
        Some("parent") => return be_a_parent_that_crashes(),
        _ => {}
    }
    let cases: &[(&str, fn())] = &[
        ("a_good_document_is_what_it_is_in_process", a_good_document_is_what_it_is_in_process),
        ("a_crash_is_an_error_with_its_cause", a_crash_is_an_error_with_its_cause),
        ("limits_hold", limits_hold),
        ("processor_time_ends_a_child_that_nobody_watches", processor_time_ends_a_child_that_nobody_watches),
        ("noise_on_stderr_blocks_nobody", noise_on_stderr_blocks_nobody),
        ("the_environment_stays_behind", the_environment_stays_behind),
        ("there_is_no_way_out", there_is_no_way_out),
        ("a_child_is_used_again_until_it_is_used_up", a_child_is_used_again_until_it_is_used_up),
        ("a_child_that_died_in_its_sleep_costs_no_document", a_child_that_died_in_its_sleep_costs_no_document),
        ("documents_are_parsed_at_the_same_time", documents_are_parsed_at_the_same_time),
        ("children_do_not_outlive_their_parent", children_do_not_outlive_their_parent),
        ("a_missing_program_is_no_fault_of_the_document", a_missing_program_is_no_fault_of_the_document),
        ("no_child_is_left_behind", no_child_is_left_behind),
    ];
    for (name, case) in cases {
        case();
        println!("test {name} ... ok");
    }
}
