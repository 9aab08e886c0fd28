//! The ABIs that a filter can tell apart, and what is particular about each.
//!
//! The kernel hands a filter the audit architecture and the number of a call. x86_64 and x32 share one architecture
//! and differ in a bit of the number; on 32-bit ABIs only the lower half of an argument means anything; and 32-bit
//! x86 reaches sockets and System V IPC through a multiplexing call as well as directly.

use oci_spec::runtime::Arch;

use super::syscalls::{NONE, SYSCALLS};

/// Marks an x32 call in the number that the kernel reports (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// ARM's private calls (`set_tls`, `cacheflush`...) start here, far above the ordinary ones.
pub(super) const PRIVATE_CALLS: u32 = 0x000f_0000;

/// One application binary interface; the discriminant is its column in the table of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Abi {
    X86_64 = 0,
    X86 = 1,
    X32 = 2,
    Aarch64 = 3,
    Arm = 4,
}

impl Abi {
    /// The ABI that this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Abi = Abi::X86_64;
    /// The ABI that this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Abi = Abi::Aarch64;

    /// The ABI that a profile names. None for architectures whose programs this machine cannot run, so that a
    /// filter has nothing to say of them.
    pub(super) fn from_spec(arch: Arch) -> Option<Abi> {
        match arch {
            Arch::ScmpArchNative => Some(Abi::NATIVE),
            Arch::ScmpArchX86_64 => Some(Abi::X86_64),
            Arch::ScmpArchX86 => Some(Abi::X86),
            Arch::ScmpArchX32 => Some(Abi::X32),
            Arch::ScmpArchAarch64 => Some(Abi::Aarch64),
            Arch::ScmpArchArm => Some(Abi::Arm),
            _ => None,
        }
    }

    /// The value of `seccomp_data.arch` (`AUDIT_ARCH_*` of linux/audit.h).
    pub(super) fn audit(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::X86 => 0x4000_0003,
            Abi::Aarch64 => 0xc000_00b7,
            Abi::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments are 64 bits wide.
    pub(super) fn is_64_bit(self) -> bool {
        matches!(self, Abi::X86_64 | Abi::Aarch64)
    }

    /// The number of a call as the kernel reports it, or None where this ABI has no such call.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        let row = SYSCALLS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        let number = SYSCALLS[row].1[self as usize];
        (number != NONE).then(|| number + self.first_number())
    }

    /// The multiplexing call that also reaches `name`, and the selector that it takes as its first argument
    /// (linux/net.h, linux/ipc.h).
    pub(super) fn multiplexed(self, name: &str) -> Option<(u32, u64)> {
        if self != Abi::X86 {
            return None;
        }
        let (_, call, selector) = MULTIPLEXED.iter().find(|(known, _, _)| *known == name)?;
        Some((self.number(call)?, *selector))
    }

    /// Where the numbers of this ABI start.
    pub(super) fn first_number(self) -> u32 {
        if self == Abi::X32 { X32_BIT } else { 0 }
    }
}

#[rustfmt::skip]
static MULTIPLEXED: &[(&str, &str, u64)] = &[
    ("socket", "socketcall", 1), ("bind", "socketcall", 2), ("connect", "socketcall", 3), ("listen", "socketcall", 4),
    ("accept", "socketcall", 5), ("getsockname", "socketcall", 6), ("getpeername", "socketcall", 7),
    ("socketpair", "socketcall", 8), ("send", "socketcall", 9), ("recv", "socketcall", 10),
    ("sendto", "socketcall", 11), ("recvfrom", "socketcall", 12), ("shutdown", "socketcall", 13),
    ("setsockopt", "socketcall", 14), ("getsockopt", "socketcall", 15), ("sendmsg", "socketcall", 16),
    ("recvmsg", "socketcall", 17), ("accept4", "socketcall", 18), ("recvmmsg", "socketcall", 19),
    ("sendmmsg", "socketcall", 20),
    ("semop", "ipc", 1), ("semget", "ipc", 2), ("semctl", "ipc", 3), ("semtimedop", "ipc", 4), ("msgsnd", "ipc", 11),
    ("msgrcv", "ipc", 12), ("msgget", "ipc", 13), ("msgctl", "ipc", 14), ("shmat", "ipc", 21), ("shmdt", "ipc", 22),
    ("shmget", "ipc", 23), ("shmctl", "ipc", 24),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_for_each_abi() {
        let cases = [
            (Abi::X86_64, "read", Some(0), "the first call"),
            (Abi::X32, "read", Some(X32_BIT), "x32 numbers carry the bit"),
            (
                Abi::X32,
                "rt_sigaction",
                Some(X32_BIT + 512),
                "x32 has calls of its own",
            ),
            (Abi::X86, "socketcall", Some(102), "multiplexers exist on 32-bit x86"),
            (Abi::X86_64, "socketcall", None, "and not on x86_64"),
            (Abi::Aarch64, "open", None, "aarch64 never had open"),
            (Abi::Arm, "set_tls", Some(PRIVATE_CALLS + 5), "ARM's private calls"),
            (Abi::X86_64, "no_such_call", None, "unknown names are no calls"),
        ];
        for (abi, name, expected, reason) in cases {
            assert_eq!(abi.number(name), expected, "{name} on {abi:?}: {reason}");
        }
    }

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(SYSCALLS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
