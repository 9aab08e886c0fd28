//! The ABIs that a filter can tell apart, and what is particular about each.
//!
//! The kernel hands a filter the audit architecture and the number of a call. x86_64 and x32 share one architecture
//! and differ in a bit of the number; on 32-bit ABIs only the lower half of an argument means anything; and 32-bit
//! x86 reaches sockets and System V IPC through a multiplexing call as well as directly.

use oci_spec::runtime::Arch;

use super::syscalls::{NONE, Row, SYSCALLS};

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
    pub fn number(self, name: &str) -> Option<u32> {
        self.number_in(find(name)?)
    }

    pub(super) fn number_in(self, row: &Row) -> Option<u32> {
        let number = row.1[self as usize];
        (number != NONE).then(|| number + self.first_number())
    }

    /// The multiplexing call that also reaches `name`, and the selector that it takes as its first argument
    /// (linux/net.h, linux/ipc.h).
    pub(super) fn multiplexed(self, name: &str) -> Option<(u32, u64)> {
        if self != Abi::X86 {
            return None;
        }
        let (_, call, selector) = MULTIPLEXED.iter().find(|(known, _, _)| *known == name)?;
        Some((*call, *selector))
    }

    /// Where the numbers of this ABI start.
    pub(super) fn first_number(self) -> u32 {
        if self == Abi::X32 { X32_BIT } else { 0 }
    }
}

/// The row of a call in the table, or None for a name that no ABI knows.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    let row = SYSCALLS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    Some(&SYSCALLS[row])
}

/// The multiplexing calls of 32-bit x86.
const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

#[rustfmt::skip]
static MULTIPLEXED: &[(&str, u32, u64)] = &[
    ("socket", SOCKETCALL, 1), ("bind", SOCKETCALL, 2), ("connect", SOCKETCALL, 3), ("listen", SOCKETCALL, 4),
    ("accept", SOCKETCALL, 5), ("getsockname", SOCKETCALL, 6), ("getpeername", SOCKETCALL, 7),
    ("socketpair", SOCKETCALL, 8), ("send", SOCKETCALL, 9), ("recv", SOCKETCALL, 10),
    ("sendto", SOCKETCALL, 11), ("recvfrom", SOCKETCALL, 12), ("shutdown", SOCKETCALL, 13),
    ("setsockopt", SOCKETCALL, 14), ("getsockopt", SOCKETCALL, 15), ("sendmsg", SOCKETCALL, 16),
    ("recvmsg", SOCKETCALL, 17), ("accept4", SOCKETCALL, 18), ("recvmmsg", SOCKETCALL, 19),
    ("sendmmsg", SOCKETCALL, 20),
    ("semop", IPC, 1), ("semget", IPC, 2), ("semctl", IPC, 3), ("semtimedop", IPC, 4), ("msgsnd", IPC, 11),
    ("msgrcv", IPC, 12), ("msgget", IPC, 13), ("msgctl", IPC, 14), ("shmat", IPC, 21), ("shmdt", IPC, 22),
    ("shmget", IPC, 23), ("shmctl", IPC, 24),
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
            (
                Abi::X86,
                "socketcall",
                Some(SOCKETCALL),
                "multiplexers exist on 32-bit x86",
            ),
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
