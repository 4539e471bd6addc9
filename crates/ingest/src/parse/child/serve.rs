//! The child's side: limit yourself, read, parse, answer.

use super::ParseLimits;
use crate::parse::{InProcess, ParseError, ParsedDocument, Parser};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use std::io::{self, Read, Write};

/// Stack of the parsing thread, in bytes: room for documents that are nested in earnest.
const STACK_BYTES: usize = 64 << 20;
/// Numbers in a request's head: three limits, two lengths.
const HEAD_NUMBERS: usize = 5;

/// The first bytes of a request; the name and the document follow.
pub(super) fn request(limits: &ParseLimits, name: &str, bytes: &[u8]) -> Vec<u8> {
    let numbers: [u64; HEAD_NUMBERS] =
        [limits.timeout_ms, limits.memory_bytes_max, limits.output_bytes_max, name.len() as u64, bytes.len() as u64];
    numbers.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// Reads a whole answer; `None` if it is not one.
pub(super) fn response(output: &[u8]) -> Option<Result<ParsedDocument, ParseError>> {
    let (length, json) = output.split_first_chunk::<8>()?;
    let is_whole = usize::try_from(u64::from_le_bytes(*length)) == Ok(json.len());
    if is_whole { serde_json::from_slice(json).ok() } else { None }
}

/// Serves one request with the parsers of this crate, then returns. The whole process is limited
/// from then on: call it in a process that does nothing else.
///
/// # Errors
/// When the request can't be read, the limits can't be set, the answer can't be written, or the
/// parser panicked. The caller must then end the process with a failure.
pub fn serve_child(input: impl Read, output: impl Write) -> io::Result<()> {
    serve_child_with(&InProcess, input, output)
}

/// [`serve_child`] with a parser of choice, so that tests can bring one that fails.
///
/// # Errors
/// As [`serve_child`].
pub fn serve_child_with(parser: &dyn Parser, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut number = || read_number(&mut input);
    let limits = ParseLimits { timeout_ms: number()?, memory_bytes_max: number()?, output_bytes_max: number()? };
    let (name_length, length) = (number()?, number()?);
    limit_this_process(&limits)?;
    let name = String::from_utf8_lossy(&read_bytes(&mut input, name_length)?).into_owned();
    let bytes = read_bytes(&mut input, length)?;

    let result = std::thread::scope(|scope| {
        let parsing = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || parser.parse(&name, &bytes))?;
        // the panic hook has said on stderr what happened
        parsing.join().map_err(|_| io::Error::other("the parser panicked"))
    })?;
    let json = serde_json::to_vec(&result)?;
    output.write_all(&(json.len() as u64).to_le_bytes())?;
    output.write_all(&json)?;
    output.flush()
}

fn limit_this_process(limits: &ParseLimits) -> io::Result<()> {
    let limit = |resource, amount| setrlimit(resource, Rlimit { current: Some(amount), maximum: Some(amount) });
    limit(Resource::As, limits.memory_bytes_max)?;
    // a second before the kernel kills without a word, it sends SIGXCPU, which says why
    let seconds = limits.timeout_ms.div_ceil(1000).max(1);
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(1)) })?;
    limit(Resource::Core, 0)?;
    // no parser writes files
    limit(Resource::Fsize, 0)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

fn read_number(input: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read_bytes(input: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_whole_is_none() {
        let json = serde_json::to_vec(&Err::<ParsedDocument, _>(ParseError::Empty)).unwrap();
        let whole = [&(json.len() as u64).to_le_bytes()[..], &json].concat();
        assert_eq!(response(&whole), Some(Err(ParseError::Empty)));
        for cut in 0..whole.len() {
            assert_eq!(response(&whole[..cut]), None, "{cut}");
        }
    }
}
