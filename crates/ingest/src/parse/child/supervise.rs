//! The parent's side: start, feed, watch, end.
//!
//! Four threads each block on one thing (stdin, stdout, stderr, exit) and tell one channel; the
//! caller waits on it with a deadline. The exit is watched without reaping, so that the process id
//! still belongs to the child when it is killed; it is reaped exactly once, on every way out.

use super::ParseLimits;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

/// What is kept of the child's last words, in bytes.
const STDERR_BYTES_MAX: u64 = 4096;

/// How a child ends that used up its processor time (SIGXCPU).
pub(super) const PROCESSOR_TIME_OVER: &str = "signal 24";

/// How it went.
pub(super) enum Ended {
    Exited { how: String, output: Vec<u8>, stderr: String },
    TimedOut,
    TooMuchOutput,
}

/// What the threads report.
enum Event {
    Output(Vec<u8>),
    Overflow,
    Stderr(String),
    Exit,
}

/// Runs the program with `input` until it exits or breaks a limit.
///
/// # Errors
/// When the child or a thread can't be started; the child is gone then too.
pub(super) fn supervise(program: &Path, arguments: &[String], limits: &ParseLimits, input: &[&[u8]]) -> io::Result<Ended> {
    let deadline = Instant::now() + Duration::from_millis(limits.timeout_ms);
    let mut child =
        Command::new(program).args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    std::thread::scope(|scope| {
        let (sender, events) = channel();
        let watched = start_threads(scope, &mut child, limits, input, sender).map(|()| collect(&events, deadline));
        // ends the threads too: their pipes break. Harmless if the child has exited
        let killed = child.kill();
        let status = child.wait()?;
        killed?;
        Ok(watched?.finish(status, &events))
    })
}

fn start_threads<'scope, 'input: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    child: &mut Child,
    limits: &ParseLimits,
    input: &'input [&'input [u8]],
    events: Sender<Event>,
) -> io::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
    let ((mut stdin, stdout), stderr) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
    let output_bytes_max = limits.output_bytes_max;
    let spawn =
        |work: Box<dyn FnOnce() + Send + 'scope>| Builder::new().name("parse-child".to_owned()).spawn_scoped(scope, work).map(|_| ());

    // a child that ends before it has read all breaks the pipe: its exit says why
    spawn(Box::new(move || drop(input.iter().try_for_each(|part| stdin.write_all(part)))))?;
    let reader = events.clone();
    // a receiver that is gone no longer cares
    spawn(Box::new(move || drop(reader.send(read_output(stdout, output_bytes_max)))))?;
    let listener = events.clone();
    spawn(Box::new(move || drop(listener.send(read_stderr(stderr)))))?;
    spawn(Box::new(move || {
        while waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).is_err_and(|error| error == Errno::INTR) {}
        drop(events.send(Event::Exit));
    }))
}

fn read_output(stdout: impl Read, bytes_max: u64) -> Event {
    let mut output = Vec::new();
    // eight bytes of length come before the answer; a broken pipe leaves a part, which is no answer
    let _ = stdout.take(bytes_max + 9).read_to_end(&mut output);
    if output.len() as u64 > bytes_max + 8 { Event::Overflow } else { Event::Output(output) }
}

fn read_stderr(mut stderr: impl Read) -> Event {
    let mut kept = Vec::new();
    let _ = stderr.by_ref().take(STDERR_BYTES_MAX).read_to_end(&mut kept);
    // the rest is read away, or the child would block on a full pipe
    let _ = io::copy(&mut stderr, &mut io::sink());
    Event::Stderr(String::from_utf8_lossy(&kept).trim().to_owned())
}

/// What has been heard so far.
#[derive(Default)]
struct Heard {
    output: Option<Vec<u8>>,
    stderr: String,
    has_exited: bool,
    has_overflowed: bool,
}

/// Listens until the child exits, says too much, or is late.
fn collect(events: &Receiver<Event>, deadline: Instant) -> Heard {
    let mut heard = Heard::default();
    while !heard.has_exited && !heard.has_overflowed {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) => heard.take(event),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    heard
}

impl Heard {
    fn take(&mut self, event: Event) {
        match event {
            Event::Output(output) => self.output = Some(output),
            Event::Overflow => self.has_overflowed = true,
            Event::Stderr(words) => self.stderr = words,
            Event::Exit => self.has_exited = true,
        }
    }

    /// The child is gone: its pipes are at their end, and so every thread will have reported.
    fn finish(mut self, status: ExitStatus, events: &Receiver<Event>) -> Ended {
        let was_late = !self.has_exited && !self.has_overflowed;
        events.iter().for_each(|event| self.take(event));
        match (self.has_overflowed, was_late) {
            (true, _) => Ended::TooMuchOutput,
            (_, true) => Ended::TimedOut,
            _ => Ended::Exited { how: how(status), output: self.output.unwrap_or_default(), stderr: self.stderr },
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
