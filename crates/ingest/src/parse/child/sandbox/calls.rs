//! The system calls of a child that parses: memory, threads, its three pipes, its end.
//!
//! A list of what is allowed and not of what is forbidden: a list of the forbidden would have to
//! name every call that is added (io_uring opens files and sockets) and every second number of an
//! old one (x32). What is not here fails with EPERM.

use rustix::process::Resource;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Compare, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;

/// Allowed whatever their arguments.
const FREE: &[libc::c_long] = &[
    // no file can be opened; reading and writing is below
    libc::SYS_close,
    // memory; mapping it is below
    libc::SYS_brk,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    // threads
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_getpid,
    // signals: those of a stack that overflows, of an abort
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // time and chance
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Allowed on the three pipes only: a parent may have left other files open to its children.
const ON_PIPES: [libc::c_long; 4] = [libc::SYS_read, libc::SYS_readv, libc::SYS_write, libc::SYS_writev];

/// Which argument of a call names what, counted from 0.
const FILE: u8 = 0;
const MAPPED_FILE: u8 = 4;
/// What stands for no file: -1.
const NO_FILE: u32 = u32::MAX;
const CLONE_FLAGS: u8 = 0;
const PROTECTION: u8 = 2;
const PRCTL_OPTION: u8 = 0;
const SIGNALLED_PROCESS: u8 = 0;
const LIMITED_PROCESS: u8 = 0;
const LIMITED_RESOURCE: u8 = 1;
const NEW_LIMIT: u8 = 2;

/// Holds for the calling thread and those that it starts, and can't be taken back.
pub(super) fn allow_only_what_parsing_needs() -> io::Result<()> {
    // Both filters see every call, and the stricter answer counts.
    for program in [without_clone3(), only_listed()] {
        let program = program.map_err(io::Error::other)?;
        seccompiler::apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

/// A filter can't see whether clone3 makes a thread or a process. Where the call does not exist,
/// the C library makes threads with clone, whose flags can be seen.
fn without_clone3() -> Result<BpfProgram, BackendError> {
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new([(libc::SYS_clone3, vec![])].into(), SeccompAction::Allow, missing, architecture()?)?.try_into()
}

fn only_listed() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = FREE.iter().map(|call| (*call, vec![])).collect();
    rules.insert(libc::SYS_clone, vec![rule([has(CLONE_FLAGS, libc::CLONE_THREAD)?])?]);
    for call in ON_PIPES {
        let last = libc::STDERR_FILENO.unsigned_abs();
        rules.insert(call, vec![rule([SeccompCondition::new(FILE, Width::Dword, Compare::Le, last.into())?])?]);
    }
    // memory that can be run can't be had: there is no code but the program's own
    let nothing_to_run = || has_not(PROTECTION, libc::PROT_EXEC);
    rules.insert(libc::SYS_mmap, vec![rule([nothing_to_run()?, is(MAPPED_FILE, NO_FILE)?])?]);
    rules.insert(libc::SYS_mprotect, vec![rule([nothing_to_run()?])?]);
    rules.insert(libc::SYS_prctl, vec![rule([is(PRCTL_OPTION, libc::PR_SET_NAME.unsigned_abs())?])?]);
    // abort() sends itself a signal; nobody else gets one
    rules.insert(libc::SYS_tgkill, vec![rule([is(SIGNALLED_PROCESS, std::process::id())?])?]);
    rules.insert(libc::SYS_prlimit64, own_limits()?);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture()?)?.try_into()
}

/// Its limits may be read, and the one of processor time set.
fn own_limits() -> Result<Vec<SeccompRule>, BackendError> {
    let nothing_new = SeccompCondition::new(NEW_LIMIT, Width::Qword, Compare::Eq, 0)?;
    Ok(vec![rule([is(LIMITED_PROCESS, 0)?, nothing_new])?, rule([is(LIMITED_PROCESS, 0)?, is(LIMITED_RESOURCE, Resource::Cpu as u32)?])?])
}

fn architecture() -> Result<TargetArch, BackendError> {
    std::env::consts::ARCH.try_into()
}

fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into())
}

fn is(argument: u8, value: u32) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Width::Dword, Compare::Eq, value.into())
}

fn has(argument: u8, flag: libc::c_int) -> Result<SeccompCondition, BackendError> {
    let flag = u64::from(flag.unsigned_abs());
    SeccompCondition::new(argument, Width::Qword, Compare::MaskedEq(flag), flag)
}

fn has_not(argument: u8, flag: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Width::Qword, Compare::MaskedEq(u64::from(flag.unsigned_abs())), 0)
}
