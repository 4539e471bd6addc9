//! Parsing in child processes of the same program.
//!
//! A PDF can overflow the stack, which ends a process whatever it catches; half a megabyte of
//! spreadsheet can ask for half a gigabyte. So documents are parsed by children that shut
//! themselves in before they read a byte ([`Sandbox`]), and that are killed when their time is over.
//! The environment stays behind: a parser of hostile files has no business with keys.
//!
//! A child parses several documents, one after the other ([`pool`]); one that broke a limit,
//! crashed or answered nonsense parses no other. [`frame`] has the protocol. A document is parsed
//! once: only if its child died before it had read the document is it given to another.

mod frame;
mod pool;
mod process;
mod sandbox;
mod serve;

pub use frame::decode_answer;
pub use sandbox::Sandbox;
pub use serve::{serve_child, serve_child_with};

use super::{ParseError, ParsedDocument, Parser};
use frame::NUMBER_BYTES;
use pool::{Lease, Plan, Pool, Worker};
use process::{Ended, Fault};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a child ends that used up its processor time (SIGXCPU).
const PROCESSOR_TIME_OVER: &str = "signal 24";

/// What a child may use for one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParseLimits {
    /// Wall-clock time, in milliseconds. A little more is the limit of processor time.
    pub timeout_ms: u64,
    /// Address space of the whole child, in bytes; 64 MiB of it are the stack.
    pub memory_bytes_max: u64,
    /// The answer with text and attachments, in bytes.
    pub output_bytes_max: u64,
}

impl Default for ParseLimits {
    /// 8 s, 512 MiB, 64 MiB.
    fn default() -> Self {
        Self { timeout_ms: 8_000, memory_bytes_max: 512 << 20, output_bytes_max: 64 << 20 }
    }
}

/// Parses documents in child processes. Blocking: call it from a blocking thread. Its clones share
/// the children, which end with the last of them.
#[derive(Debug, Clone)]
pub struct ChildParser {
    limits: ParseLimits,
    pool: Arc<Pool>,
}

impl ChildParser {
    /// `program` called with `arguments` must run [`serve_child`] on its stdin and stdout. Up to
    /// `children` documents (at least one) are parsed at a time; others wait.
    ///
    /// # Errors
    /// No thread can be started. That no child can be is an error of the document that needs one.
    pub fn start(program: PathBuf, arguments: Vec<String>, limits: ParseLimits, children: usize) -> io::Result<Self> {
        let pool = Pool::start(Plan { program, arguments, limits, children: children.max(1) })?;
        Ok(Self { limits, pool: Arc::new(pool) })
    }

    /// What holds the children in on this machine. Waits for a child.
    ///
    /// # Errors
    /// [`ParseError::Unavailable`] if none can be started.
    pub fn sandbox(&self) -> Result<Sandbox, ParseError> {
        let mut lease = self.take()?;
        let sandbox = lease.worker().map(|worker| worker.sandbox);
        lease.give_back();
        sandbox.ok_or_else(|| unavailable("there is no child"))
    }

    fn take(&self) -> Result<Lease<'_>, ParseError> {
        self.pool.take().map_err(unavailable)
    }
}

impl Parser for ChildParser {
    fn parse(&self, name: &str, bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
        match self.attempt(name, bytes) {
            Ok(Attempt::Done(result)) => result,
            Ok(Attempt::NotBegun(ended)) => {
                tracing::debug!(how = %ended.how, stderr = %ended.stderr, "a child ended before it had read its document");
                match self.attempt(name, bytes)? {
                    Attempt::Done(result) => result,
                    Attempt::NotBegun(ended) => Err(self.crash(ended)),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// What came of giving a document to a child.
enum Attempt {
    Done(Result<ParsedDocument, ParseError>),
    /// The child died of something else.
    NotBegun(Ended),
}

impl ChildParser {
    fn attempt(&self, name: &str, bytes: &[u8]) -> Result<Attempt, ParseError> {
        let mut lease = self.take()?;
        let worker = lease.worker().ok_or_else(|| unavailable("there is no child"))?;
        let mut was_read = false;
        match self.converse(worker, name, bytes, &mut was_read) {
            Ok(answer) => match decode_answer(&answer) {
                Some(result) => {
                    lease.give_back();
                    Ok(Attempt::Done(result))
                }
                None => Err(nonsense()),
            },
            Err(Fault::Late) => Err(ParseError::Timeout { timeout_ms: self.limits.timeout_ms }),
            Err(Fault::TooLong) if !was_read => Err(nonsense()),
            Err(Fault::TooLong) => {
                Err(ParseError::TooLarge { what: "the extracted text".to_owned(), bytes_max: self.limits.output_bytes_max })
            }
            Err(Fault::Io(error)) => Err(unavailable(error)),
            Err(Fault::Gone) => {
                let ended = lease.end().map_err(unavailable)?;
                if was_read { Err(self.crash(ended)) } else { Ok(Attempt::NotBegun(ended)) }
            }
        }
    }

    /// Sends a document and waits for its answer. `was_read` tells whether the child had begun.
    fn converse(&self, worker: &mut Worker, name: &str, bytes: &[u8], was_read: &mut bool) -> Result<Vec<u8>, Fault> {
        let deadline = Instant::now() + Duration::from_millis(self.limits.timeout_ms);
        let name = frame::short_name(name);
        worker.process.send(&[&frame::request_head(name, bytes), name.as_bytes(), bytes], deadline)?;
        worker.process.receive(0, deadline)?;
        *was_read = true;
        worker.process.receive(self.limits.output_bytes_max.saturating_add(NUMBER_BYTES as u64), deadline)
    }

    /// The words are those of Rust's runtime and of the kernel's signals.
    fn crash(&self, Ended { how, stderr }: Ended) -> ParseError {
        if stderr.contains("memory allocation of") {
            ParseError::OutOfMemory { bytes_max: self.limits.memory_bytes_max }
        } else if how == PROCESSOR_TIME_OVER {
            ParseError::Timeout { timeout_ms: self.limits.timeout_ms }
        } else {
            let how = if stderr.contains("has overflowed its stack") { "stack overflow".to_owned() } else { how };
            ParseError::Crashed { how, stderr }
        }
    }
}

fn nonsense() -> ParseError {
    ParseError::Crashed { how: "an answer that is none".to_owned(), stderr: String::new() }
}

fn unavailable(reason: impl ToString) -> ParseError {
    ParseError::Unavailable { reason: reason.to_string() }
}
