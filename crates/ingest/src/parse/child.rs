//! Parsing in a child process of the same program.
//!
//! A PDF can overflow the stack, which ends a process whatever it catches; half a megabyte of
//! spreadsheet can ask for half a gigabyte. So each document is parsed in a process of its own that
//! limits itself before it reads a byte, and that is killed when its time is over. The environment
//! stays behind: a parser of hostile files has no business with keys.
//!
//! Protocol, all integers little-endian: to the child go the limits, the length of the name (u64),
//! the length of the bytes (u64), the name, the bytes. Back come a length (u64) and that many bytes
//! of JSON, a `Result<ParsedDocument, ParseError>`. Anything else is a crash.

mod serve;
mod supervise;

pub use serve::{serve_child, serve_child_with};

use super::{ParseError, ParsedDocument, Parser};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use supervise::{Ended, supervise};

/// What a child may use for one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParseLimits {
    /// Wall-clock time, in milliseconds. The same is the limit of processor time.
    pub timeout_ms: u64,
    /// Address space, in bytes.
    pub memory_bytes_max: u64,
    /// The answer as JSON, in bytes.
    pub output_bytes_max: u64,
}

impl Default for ParseLimits {
    /// 60 s, 1 GiB, 64 MiB.
    fn default() -> Self {
        Self { timeout_ms: 60_000, memory_bytes_max: 1 << 30, output_bytes_max: 64 << 20 }
    }
}

/// Parses each document in a child process of its own. Blocking: call it from a blocking thread.
#[derive(Debug, Clone)]
pub struct ChildParser {
    program: PathBuf,
    arguments: Vec<String>,
    limits: ParseLimits,
}

impl ChildParser {
    /// `program` called with `arguments` must run [`serve_child`] on its stdin and stdout.
    #[must_use]
    pub const fn new(program: PathBuf, arguments: Vec<String>, limits: ParseLimits) -> Self {
        Self { program, arguments, limits }
    }
}

impl Parser for ChildParser {
    fn parse(&self, name: &str, bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
        let request = serve::request(&self.limits, name, bytes);
        let ended = supervise(&self.program, &self.arguments, &self.limits, &[&request, name.as_bytes(), bytes]);
        match ended.map_err(|error| ParseError::Unavailable { reason: error.to_string() })? {
            Ended::TimedOut => Err(ParseError::Timeout { timeout_ms: self.limits.timeout_ms }),
            Ended::TooMuchOutput => {
                Err(ParseError::TooLarge { what: "the extracted text".to_owned(), bytes_max: self.limits.output_bytes_max })
            }
            Ended::Exited { how, output, stderr } => serve::response(&output).unwrap_or_else(|| Err(self.crash(how, stderr))),
        }
    }
}

impl ChildParser {
    /// The words are those of Rust's runtime and of the kernel's signals.
    fn crash(&self, how: String, stderr: String) -> ParseError {
        if stderr.contains("memory allocation of") {
            ParseError::OutOfMemory { bytes_max: self.limits.memory_bytes_max }
        } else if how == supervise::PROCESSOR_TIME_OVER {
            ParseError::Timeout { timeout_ms: self.limits.timeout_ms }
        } else {
            let how = if stderr.contains("has overflowed its stack") { "stack overflow".to_owned() } else { how };
            ParseError::Crashed { how, stderr }
        }
    }
}
