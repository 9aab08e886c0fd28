//! Seccomp: from an OCI profile to a filter in the kernel, without libseccomp.
//!
//! Read `policy.rs` for what a profile means, `compile.rs` for the shape of the program, `profile.rs` for the profile
//! that containers get unless they bring one. `arch.rs` and `syscalls.rs` hold what differs between ABIs, `emit.rs`
//! the assembler, `install.rs` the one system call. Nothing here knows of containers.
//!
//! Compile in the parent, where memory may be allocated; [`install`] in the child, last. Compiled programs are not
//! kept: the default profile for three ABIs takes 0.09 ms, about what it would take to read one back from a file and
//! verify it, and no file that decides about a sandbox needs to be trusted.

mod arch;
mod compile;
mod emit;
mod error;
mod install;
mod policy;
mod profile;
#[rustfmt::skip]
mod syscalls;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};

pub use arch::Abi;
pub use emit::Instruction;
pub use error::Error;
pub use install::install;
pub use profile::default_profile;

/// The kernel's limit (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

/// A filter ready to load: classic BPF and the flags for seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
    flags: u32,
}

impl Program {
    /// The instructions, in the order in which they run.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// `SECCOMP_FILTER_FLAG_*`.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether [`install`] will answer a descriptor, to be sent to the profile's `listenerPath`.
    pub fn wants_listener(&self) -> bool {
        u64::from(self.flags) & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0
    }
}

/// Compiles a profile for the native ABI and those that it lists.
pub fn compile(profile: &LinuxSeccomp) -> Result<Program, Error> {
    let instructions = compile::program(&policy::policies(profile)?);
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(Error::TooLong {
            len: instructions.len(),
        });
    }
    Ok(Program {
        instructions,
        flags: flags(profile),
    })
}

/// The profile's flags; without any, speculation is left as the kernel has it (`SPEC_ALLOW`), as other runtimes do.
fn flags(profile: &LinuxSeccomp) -> u32 {
    let spec_allow = vec![LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow];
    let listed = profile.flags().as_ref().unwrap_or(&spec_allow);
    let flags = listed.iter().fold(0, |flags, flag| flags | flag_bit(*flag));
    let notifies = |action| action == LinuxSeccompAction::ScmpActNotify;
    if !profile
        .syscalls()
        .iter()
        .flatten()
        .any(|entry| notifies(entry.action()))
    {
        // The kernel refuses this flag where nobody is notified.
        return flags & !(libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32);
    }
    // The kernel cannot answer both a thread and a descriptor, and is told which by a flag of its own.
    let tsync = libc::SECCOMP_FILTER_FLAG_TSYNC as u32;
    let no_thread = if flags & tsync != 0 {
        libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH as u32
    } else {
        0
    };
    flags | no_thread | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32
}

fn flag_bit(flag: LinuxSeccompFilterFlag) -> u32 {
    let bit = match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    };
    bit as u32
}
