//! `parse [--text] FILE…`: parses each file in a child process and prints one line about it, or
//! its text. `parse parse-worker` is the child.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use ragstone_ingest::parse::{ChildParser, ParseLimits, Parser, serve_child};
use std::io::{stdin, stdout};
use std::time::Instant;

fn main() -> std::io::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "parse-worker") {
        return serve_child(stdin().lock(), stdout().lock());
    }
    let shows_text = arguments.first().is_some_and(|first| first == "--text");
    let parser = ChildParser::start(std::env::current_exe()?, vec!["parse-worker".to_owned()], ParseLimits::default(), 1)?;
    for path in arguments.split_off(usize::from(shows_text)) {
        let bytes = std::fs::read(&path)?;
        let started = Instant::now();
        let result = parser.parse(&path, &bytes);
        let elapsed_ms = started.elapsed().as_millis();
        match result {
            Ok(document) if shows_text => println!("{}", document.text),
            Ok(document) => println!(
                "ready\t{path}\t{}\t{:?}\tchars={}\theadings={}\tpages={}\twarnings={:?}\ttitle={:?}\t{elapsed_ms} ms",
                document.media_type,
                document.format,
                document.text.chars().count(),
                document.headings.len(),
                document.pages.len(),
                document.warnings,
                document.title,
            ),
            Err(error) => println!("failed\t{path}\t{}\t{error}\t{elapsed_ms} ms", error.code()),
        }
    }
    Ok(())
}
