//! What a child gives up before it reads its first document, for good.
//!
//! Three layers, each of which holds alone: resource limits (always), Landlock (no file, no TCP
//! port, no signal; Linux 5.13 and newer) and a list of the system calls that parsing needs
//! ([`calls`]; every other one is refused). What the kernel lacks is left out and said.

mod calls;

use super::frame::Start;
use landlock::{ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// Open files: standard input, output and error, and none more.
const FILES_MAX: u64 = 3;

/// What holds a child in, as the child found it to be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The version of Landlock that refuses files and ports; `None` if the kernel has none.
    pub landlock: Option<i32>,
    /// Whether system calls that parsing doesn't need are refused.
    pub seccomp: bool,
}

impl fmt::Display for Sandbox {
    /// `landlock v4, seccomp, rlimits`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(version) = self.landlock {
            write!(out, "landlock v{version}, ")?;
        }
        out.write_str(if self.seccomp { "seccomp, rlimits" } else { "rlimits" })
    }
}

/// Shuts the calling thread, and every thread that it starts from then on, in. The limits are the
/// whole process's.
pub(super) fn enter(start: &Start) -> io::Result<Sandbox> {
    // A parent that died before this line leaves its end of the pipe closed, which ends the child too.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    limit(Resource::As, start.memory_bytes_max)?;
    limit(Resource::Core, 0)?;
    // no parser writes files
    limit(Resource::Fsize, 0)?;
    let landlock = landlock();
    limit(Resource::Nofile, FILES_MAX)?;
    Ok(Sandbox { landlock, seccomp: calls::allow_only_what_parsing_needs().is_ok() })
}

/// Gives the process so much more processor time. When it is used up, SIGXCPU ends it.
pub(super) fn processor_time_for_one_more(timeout_ms: u64) -> io::Result<()> {
    let used = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or_default();
    let seconds = used.saturating_add(1).saturating_add(timeout_ms.div_ceil(1000));
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = Some(maximum.map_or(seconds, |maximum| maximum.min(seconds)));
    Ok(setrlimit(Resource::Cpu, Rlimit { current, maximum })?)
}

fn limit(resource: Resource, amount: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(amount), maximum: Some(amount) })?)
}

/// Refuses everything that Landlock knows; its version, if the kernel has it.
fn landlock() -> Option<i32> {
    let newest = ABI::V7;
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(newest)).ok()?;
    let ruleset = ruleset.handle_access(AccessNet::from_all(newest)).ok()?.scope(Scope::from_all(newest)).ok()?;
    let status = ruleset.create().ok()?.restrict_self().ok()?;
    match status.landlock {
        _ if status.ruleset == RulesetStatus::NotEnforced => None,
        LandlockStatus::Available { effective_abi, .. } => Some(effective_abi as i32),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::process::Command;

    /// In a thread of its own, which takes its restrictions with it when it ends.
    fn shut_in<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(work).join()).unwrap()
    }

    fn is_refused<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn landlock_alone_refuses_files_and_ports() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        shut_in(|| {
            let Some(version) = landlock() else { return };
            assert!(is_refused(File::open("/etc/passwd")) && is_refused(File::create(&file)) && is_refused(std::fs::read_dir("/")));
            assert!(version < 4 || is_refused(TcpStream::connect(address)));
        });
        assert!(!file.exists());
        assert!(File::open("/etc/passwd").is_ok(), "other threads are free");
    }

    #[test]
    fn the_list_of_calls_alone_refuses_the_rest() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        let mut left_open = File::open("/etc/passwd").unwrap();
        let parent = rustix::process::getppid().unwrap();
        shut_in(|| {
            calls::allow_only_what_parsing_needs().unwrap();
            assert!(is_refused(File::open("/etc/passwd")) && is_refused(File::create(&file)));
            assert!(is_refused(left_open.read(&mut [0; 8])), "a file that was open before");
            assert!(is_refused(TcpStream::connect("127.0.0.1:9")) && is_refused(UdpSocket::bind("127.0.0.1:0")));
            assert!(is_refused(Command::new("/bin/true").spawn().map(|_| ())));
            assert!(rustix::process::kill_process(parent, Signal::CONT).is_err());
            assert!(limit(Resource::Core, 0).is_err(), "limits can't be lifted, not even by root");
            // what parsing does do
            let filled = std::thread::spawn(|| vec![1u8; 8 << 20].len()).join().unwrap();
            assert_eq!(filled, 8 << 20);
            assert!(std::collections::HashMap::<u8, u8>::new().is_empty());
            assert!(processor_time_for_one_more(1_000_000).is_ok());
        });
        assert!(!file.exists());
    }

    #[test]
    fn the_log_says_what_is_in_force() {
        assert_eq!(Sandbox { landlock: Some(4), seccomp: true }.to_string(), "landlock v4, seccomp, rlimits");
        assert_eq!(Sandbox { landlock: None, seccomp: false }.to_string(), "rlimits");
    }
}
