//! One child as the parent sees it: start, tell, listen with a deadline, end.
//!
//! The pipes are non-blocking, and one thread watches them all: no child can hold up its parent by
//! not reading, not writing, or complaining without end. A child is killed and reaped exactly once,
//! when its [`Process`] is dropped or [`ended`](Process::end).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Instant;

use super::frame::NUMBER_BYTES;

/// What is kept of the child's last words, in bytes.
const STDERR_BYTES_MAX: usize = 4096;
/// Bytes read at a time: what a pipe holds.
const READ_BYTES: usize = 64 << 10;
/// The environment of a child. One heap for all its threads: by default the C library reserves 64 MiB
/// of address space for each, which is limited.
const ENVIRONMENT: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// Why a child did not do what was asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// It was not done at the deadline.
    Late,
    /// It announces more than it may say.
    TooLong,
    /// Its pipes are closed: it has ended, or wants to be thought so.
    Gone,
    /// The system refused.
    Io(io::Error),
}

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// `exit code 1`, `signal 9`.
    pub(super) how: String,
    /// Its last words.
    pub(super) stderr: String,
}

/// What a child takes, in bytes, as the kernel says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Address space now.
    pub(super) mapped: u64,
    /// The most that was ever resident.
    pub(super) resident_peak: u64,
}

/// A running child.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    /// `None` once it is at its end.
    stderr: Option<ChildStderr>,
    words: Vec<u8>,
}

impl Process {
    /// Starts the program. The child is to end when the calling *thread* does: the kernel ties a
    /// child to the thread that started it.
    pub(super) fn start(program: &Path, arguments: &[String]) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env(ENVIRONMENT.0, ENVIRONMENT.1);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
        let ((stdin, stdout), stderr) = pipes.ok_or(ErrorKind::BrokenPipe)?;
        let process = Self { child, stdin, stdout, stderr: Some(stderr), words: Vec::new() };
        unblock(&process.stdin)?;
        unblock(&process.stdout)?;
        process.stderr.as_ref().map_or(Ok(()), unblock)?;
        Ok(process)
    }

    /// Sends all parts.
    pub(super) fn send(&mut self, parts: &[&[u8]], deadline: Instant) -> Result<(), Fault> {
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                match self.stdin.write(rest) {
                    Ok(0) => return Err(Fault::Gone),
                    Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                    Err(error) => self.wait_or_fail(error, Side::Input, deadline)?,
                }
            }
        }
        Ok(())
    }

    /// The content of the next frame, at most `bytes_max` bytes.
    pub(super) fn receive(&mut self, bytes_max: u64, deadline: Instant) -> Result<Vec<u8>, Fault> {
        let length = self.read(NUMBER_BYTES, deadline)?;
        let length = length.first_chunk().copied().map(u64::from_le_bytes).ok_or(Fault::Gone)?;
        let length = if length > bytes_max { None } else { usize::try_from(length).ok() };
        self.read(length.ok_or(Fault::TooLong)?, deadline)
    }

    /// So many bytes. Memory is taken as they come, not as they are announced.
    fn read(&mut self, length: usize, deadline: Instant) -> Result<Vec<u8>, Fault> {
        let mut content = Vec::new();
        let mut buffer = [0; READ_BYTES];
        while content.len() < length {
            let room = buffer.get_mut(..READ_BYTES.min(length - content.len())).unwrap_or_default();
            match self.stdout.read(room) {
                Ok(0) => return Err(Fault::Gone),
                Ok(count) => content.extend_from_slice(room.get(..count).unwrap_or_default()),
                Err(error) => self.wait_or_fail(error, Side::Output, deadline)?,
            }
        }
        Ok(content)
    }

    fn wait_or_fail(&mut self, error: io::Error, side: Side, deadline: Instant) -> Result<(), Fault> {
        match error.kind() {
            ErrorKind::Interrupted => Ok(()),
            ErrorKind::WouldBlock => self.wait(side, deadline),
            ErrorKind::BrokenPipe => Err(Fault::Gone),
            _ => Err(Fault::Io(error)),
        }
    }

    /// Until that side is ready, taking in what is said on stderr meanwhile.
    fn wait(&mut self, side: Side, deadline: Instant) -> Result<(), Fault> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::Late);
            }
            let watched = match side {
                Side::Input => PollFd::new(&self.stdin, PollFlags::OUT),
                Side::Output => PollFd::new(&self.stdout, PollFlags::IN),
            };
            let mut watched: Vec<PollFd<'_>> =
                std::iter::once(watched).chain(self.stderr.as_ref().map(|stderr| PollFd::new(stderr, PollFlags::IN))).collect();
            match poll(&mut watched, Timespec::try_from(left).ok().as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Fault::Io(error.into())),
            }
            let is_ready = |index: usize| watched.get(index).is_some_and(|one| !one.revents().is_empty());
            let (is_side_ready, has_words) = (is_ready(0), is_ready(1));
            if has_words {
                self.hear();
            }
            if is_side_ready {
                return Ok(());
            }
        }
    }

    /// Takes in what stands on stderr and keeps the beginning: a full pipe would stop the child.
    fn hear(&mut self) {
        let mut buffer = [0; READ_BYTES];
        let Some(stderr) = &mut self.stderr else { return };
        match stderr.read(&mut buffer) {
            Ok(0) => self.stderr = None,
            Ok(count) => {
                let room = STDERR_BYTES_MAX.saturating_sub(self.words.len());
                self.words.extend(buffer.iter().take(count.min(room)));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.stderr = None,
        }
    }

    /// Whether it has not ended by itself or by the system's hand.
    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Before the next document: words about the last one are no words about it.
    pub(super) fn forget_words(&mut self) {
        self.hear();
        self.words.clear();
    }

    /// What it takes; zero if it has ended, or where the kernel doesn't say.
    pub(super) fn memory(&self) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
        };
        Memory { mapped: bytes("VmSize").unwrap_or_default(), resident_peak: bytes("VmHWM").unwrap_or_default() }
    }

    /// Kills it if it has not ended by itself, and says how it ended. A child whose pipes are closed
    /// is on its way out: a signal no longer changes how.
    pub(super) fn end(mut self) -> io::Result<Ended> {
        self.child.kill()?;
        let status = self.child.wait()?;
        // All that it wrote is in the pipe by now.
        for _ in 0..STDERR_BYTES_MAX {
            self.hear();
            if self.stderr.is_none() || self.words.len() >= STDERR_BYTES_MAX {
                break;
            }
        }
        Ok(Ended { how: how(status), stderr: String::from_utf8_lossy(&self.words).trim().to_owned() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of one that has ended and was reaped, the standard library knows it.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::warn!(%error, "a parser could not be ended");
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}

fn unblock(pipe: &impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?)
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
