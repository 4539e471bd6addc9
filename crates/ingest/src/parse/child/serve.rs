//! The child's side: shut yourself in, then read, parse and answer until there is no more.

use super::frame::{self, Answer, Start};
use super::sandbox;
use crate::parse::{InProcess, ParseError, ParsedDocument, Parser};
use std::io::{self, Read, Write};

/// Stack of the parsing thread, in bytes: room for documents that are nested in earnest.
const STACK_BYTES: usize = 64 << 20;

/// Serves requests with the parsers of this crate until there are no more. The whole process is
/// limited from then on, for good: call it first thing, in a process that does nothing else and has
/// no other thread yet.
///
/// # Errors
/// When a request can't be read, the limits can't be set, an answer can't be written, or the parser
/// panicked. The caller must then end the process with a failure.
pub fn serve_child(input: impl Read, output: impl Write) -> io::Result<()> {
    serve_child_with(&InProcess, input, output)
}

/// [`serve_child`] with a parser of choice, so that tests can bring one that fails.
///
/// # Errors
/// As [`serve_child`].
pub fn serve_child_with(parser: &dyn Parser, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let start = Start::read(&mut input)?;
    let sandbox = sandbox::enter(&start)?;
    frame::write_frame(&mut output, &[&serde_json::to_vec(&sandbox)?])?;
    while let Some((name, bytes)) = frame::read_request(&mut input)? {
        sandbox::processor_time_for_one_more(start.timeout_ms)?;
        frame::write_frame(&mut output, &[])?;
        let result = on_own_thread(parser, &name, &bytes)?;
        drop(bytes);
        Answer::new(result, start.output_bytes_max)?.write(&mut output)?;
    }
    Ok(())
}

fn on_own_thread(parser: &dyn Parser, name: &str, bytes: &[u8]) -> io::Result<Result<ParsedDocument, ParseError>> {
    std::thread::scope(|scope| {
        let parsing = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || parser.parse(name, bytes))?;
        // The panic hook has said on stderr what happened. What a panic leaves behind is not used again.
        parsing.join().map_err(|_| io::Error::other("the parser panicked"))
    })
}
