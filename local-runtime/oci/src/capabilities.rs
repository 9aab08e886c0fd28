//! Capabilities: the sets that OCI names, and how a process takes them on.
//!
//! The parent works out the sets (`Capabilities::from_spec`), the child takes them on without allocating, in this
//! order: [`Capabilities::drop_bounding`] while it still may, [`keep_permitted`] before it changes its user,
//! [`Capabilities::apply`] after, [`set_no_new_privs`] before the seccomp filter.
//!
//! The inheritable set stays empty unless the configuration fills it: a container with inheritable capabilities
//! gives them to any file that asks, whoever runs it (CVE-2022-24769).

use std::fmt;
use std::io;

use oci_spec::runtime::{Capability, LinuxCapabilities};

/// A set of capabilities, one bit each, numbered as in linux/capability.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: CapSet = CapSet(0);
    /// Every capability, those unknown to this program included.
    pub const ALL: CapSet = CapSet(u64::MAX);

    /// The permitted set of the calling thread: what it may give. Capabilities that the kernel does not know are
    /// never in it.
    pub fn permitted() -> io::Result<CapSet> {
        let mut data = [Data::default(); 2];
        // SAFETY: header and data have the layout of version 3, which wants two blocks of data.
        check(unsafe { libc::syscall(libc::SYS_capget, &mut Header::new(), data.as_mut_ptr()) })?;
        Ok(CapSet(
            u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32,
        ))
    }

    pub fn contains(self, capability: Capability) -> bool {
        self.0 & bit(capability) != 0
    }

    pub fn with(self, capability: Capability) -> CapSet {
        CapSet(self.0 | bit(capability))
    }

    pub fn and(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }

    pub fn without(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One bit for each capability, as `/proc/<pid>/status` prints it.
    pub fn bits(self) -> u64 {
        self.0
    }

    fn from_spec(set: &Option<oci_spec::runtime::Capabilities>) -> CapSet {
        set.iter()
            .flatten()
            .fold(CapSet::EMPTY, |set, capability| set.with(*capability))
    }

    fn halves(self) -> [u32; 2] {
        [self.0 as u32, (self.0 >> 32) as u32]
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> CapSet {
        capabilities.into_iter().fold(CapSet::EMPTY, CapSet::with)
    }
}

/// The names, as in `CAP_KILL, CAP_SYS_ADMIN`.
impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in TABLE.iter().filter(|(capability, _)| self.contains(*capability)) {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The capability of that name, with or without `CAP_`, in any case.
pub fn parse(name: &str) -> Option<Capability> {
    let name = name.to_ascii_uppercase();
    let full = if name.starts_with("CAP_") {
        name
    } else {
        format!("CAP_{name}")
    };
    TABLE
        .iter()
        .find(|(_, known)| *known == full)
        .map(|(capability, _)| *capability)
}

/// The five sets of a process (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    pub bounding: CapSet,
    pub effective: CapSet,
    pub permitted: CapSet,
    pub inheritable: CapSet,
    pub ambient: CapSet,
}

impl Capabilities {
    /// The sets of a configuration; without any, a process with no capabilities at all.
    pub fn from_spec(spec: Option<&LinuxCapabilities>) -> Capabilities {
        let Some(spec) = spec else {
            return Capabilities::default();
        };
        Capabilities {
            bounding: CapSet::from_spec(spec.bounding()),
            effective: CapSet::from_spec(spec.effective()),
            permitted: CapSet::from_spec(spec.permitted()),
            inheritable: CapSet::from_spec(spec.inheritable()),
            ambient: CapSet::from_spec(spec.ambient()),
        }
    }

    /// What of these sets a process that holds `have` can take on, and what falls away. The OCI specification asks
    /// for a warning about the latter, not for a failure. The bounding set only ever takes away, and is as wanted.
    pub fn grantable(self, have: CapSet) -> (Capabilities, CapSet) {
        let permitted = self.permitted.and(have);
        let inheritable = self.inheritable.and(have);
        let granted = Capabilities {
            bounding: self.bounding,
            effective: self.effective.and(permitted),
            permitted,
            inheritable,
            ambient: self.ambient.and(permitted).and(inheritable),
        };
        let wanted = [self.effective, self.permitted, self.inheritable, self.ambient];
        let got = [
            granted.effective,
            granted.permitted,
            granted.inheritable,
            granted.ambient,
        ];
        let lost = wanted
            .iter()
            .zip(got)
            .fold(0, |lost, (wanted, got)| lost | wanted.without(got).0);
        (granted, CapSet(lost))
    }

    /// Takes every capability outside the bounding set out of the process's own. Needs CAP_SETPCAP, unless there is
    /// nothing to drop.
    pub fn drop_bounding(&self) -> io::Result<()> {
        for number in (0..u64::BITS).filter(|number| self.bounding.0 & (1 << number) == 0) {
            match bounding(libc::PR_CAPBSET_DROP, number).map_err(|error| (error.raw_os_error(), error)) {
                Err((Some(libc::EINVAL), _)) => break, // the kernel has no more capabilities
                Err((Some(libc::EPERM), _)) if bounding(libc::PR_CAPBSET_READ, number)? == 0 => {}
                answer => answer.map(drop).map_err(|(_, error)| error)?,
            }
        }
        Ok(())
    }

    /// Makes the other four sets those of the calling thread: after the last change of user, which clears them.
    pub fn apply(&self) -> io::Result<()> {
        let [effective, permitted, inheritable] =
            [self.effective, self.permitted, self.inheritable].map(CapSet::halves);
        let data = [0, 1].map(|half| Data {
            effective: effective[half],
            permitted: permitted[half],
            inheritable: inheritable[half],
        });
        // SAFETY: header and data have the layout of version 3, which wants two blocks of data.
        check(unsafe { libc::syscall(libc::SYS_capset, &mut Header::new(), data.as_ptr()) })?;
        self.apply_ambient()
    }

    fn apply_ambient(&self) -> io::Result<()> {
        ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
        (0..u64::BITS)
            .filter(|number| self.ambient.0 & (1 << number) != 0)
            .try_for_each(|number| ambient(libc::PR_CAP_AMBIENT_RAISE, number))
    }
}

/// Lets the permitted set survive the next change from root to another user, once.
pub fn keep_permitted() -> io::Result<()> {
    // SAFETY: PR_SET_KEEPCAPS takes one number and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1 as libc::c_ulong, 0, 0, 0) }.into())
}

/// No execve(2) from here on gives more than the thread has: set-user-ID bits and file capabilities are void.
pub fn set_no_new_privs() -> io::Result<()> {
    // SAFETY: PR_SET_NO_NEW_PRIVS takes one number and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as libc::c_ulong, 0, 0, 0) }.into())
}

fn bounding(operation: libc::c_int, number: u32) -> io::Result<libc::c_int> {
    // SAFETY: PR_CAPBSET_READ and PR_CAPBSET_DROP take one number and touch no memory.
    let answer = unsafe { libc::prctl(operation, libc::c_ulong::from(number), 0, 0, 0) };
    check(answer.into()).map(|()| answer)
}

fn ambient(operation: libc::c_int, number: u32) -> io::Result<()> {
    let [operation, number] = [operation as libc::c_ulong, libc::c_ulong::from(number)];
    // SAFETY: PR_CAP_AMBIENT takes numbers and touches no memory.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, operation, number, 0, 0) }.into())
}

fn check(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `struct __user_cap_header_struct`, for the calling thread.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

impl Header {
    fn new() -> Header {
        const VERSION_3: u32 = 0x2008_0522;
        Header {
            version: VERSION_3,
            pid: 0,
        }
    }
}

/// `struct __user_cap_data_struct`: 32 capabilities of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn bit(capability: Capability) -> u64 {
    let number = TABLE.iter().position(|(known, _)| *known == capability);
    1 << number.expect("the table has every capability")
}

/// In the order of their numbers (linux/capability.h).
#[rustfmt::skip]
static TABLE: [(Capability, &str); 41] = [
    (Capability::Chown, "CAP_CHOWN"), (Capability::DacOverride, "CAP_DAC_OVERRIDE"),
    (Capability::DacReadSearch, "CAP_DAC_READ_SEARCH"), (Capability::Fowner, "CAP_FOWNER"),
    (Capability::Fsetid, "CAP_FSETID"), (Capability::Kill, "CAP_KILL"), (Capability::Setgid, "CAP_SETGID"),
    (Capability::Setuid, "CAP_SETUID"), (Capability::Setpcap, "CAP_SETPCAP"),
    (Capability::LinuxImmutable, "CAP_LINUX_IMMUTABLE"), (Capability::NetBindService, "CAP_NET_BIND_SERVICE"),
    (Capability::NetBroadcast, "CAP_NET_BROADCAST"), (Capability::NetAdmin, "CAP_NET_ADMIN"),
    (Capability::NetRaw, "CAP_NET_RAW"), (Capability::IpcLock, "CAP_IPC_LOCK"),
    (Capability::IpcOwner, "CAP_IPC_OWNER"), (Capability::SysModule, "CAP_SYS_MODULE"),
    (Capability::SysRawio, "CAP_SYS_RAWIO"), (Capability::SysChroot, "CAP_SYS_CHROOT"),
    (Capability::SysPtrace, "CAP_SYS_PTRACE"), (Capability::SysPacct, "CAP_SYS_PACCT"),
    (Capability::SysAdmin, "CAP_SYS_ADMIN"), (Capability::SysBoot, "CAP_SYS_BOOT"),
    (Capability::SysNice, "CAP_SYS_NICE"), (Capability::SysResource, "CAP_SYS_RESOURCE"),
    (Capability::SysTime, "CAP_SYS_TIME"), (Capability::SysTtyConfig, "CAP_SYS_TTY_CONFIG"),
    (Capability::Mknod, "CAP_MKNOD"), (Capability::Lease, "CAP_LEASE"), (Capability::AuditWrite, "CAP_AUDIT_WRITE"),
    (Capability::AuditControl, "CAP_AUDIT_CONTROL"), (Capability::Setfcap, "CAP_SETFCAP"),
    (Capability::MacOverride, "CAP_MAC_OVERRIDE"), (Capability::MacAdmin, "CAP_MAC_ADMIN"),
    (Capability::Syslog, "CAP_SYSLOG"), (Capability::WakeAlarm, "CAP_WAKE_ALARM"),
    (Capability::BlockSuspend, "CAP_BLOCK_SUSPEND"), (Capability::AuditRead, "CAP_AUDIT_READ"),
    (Capability::Perfmon, "CAP_PERFMON"), (Capability::Bpf, "CAP_BPF"),
    (Capability::CheckpointRestore, "CAP_CHECKPOINT_RESTORE"),
];

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxCapabilitiesBuilder;

    use super::*;

    #[test]
    fn names_and_numbers_are_the_kernel_headers() {
        let cases = [
            ("CAP_CHOWN", 0, "the first"),
            ("CAP_SYS_ADMIN", 21, "the busiest"),
            ("CAP_SETFCAP", 31, "the last of the lower word"),
            ("CAP_MAC_OVERRIDE", 32, "the first of the upper word"),
            ("CAP_CHECKPOINT_RESTORE", 40, "the newest"),
        ];
        for (name, number, reason) in cases {
            let capability = parse(name).unwrap();
            assert_eq!(CapSet::EMPTY.with(capability).bits(), 1 << number, "{name}: {reason}");
            assert_eq!(CapSet::EMPTY.with(capability).to_string(), name, "{name}: {reason}");
        }
        assert_eq!(
            parse("sys_ptrace"),
            Some(Capability::SysPtrace),
            "short names in any case"
        );
        assert_eq!(parse("CAP_FLY"), None, "there is no such capability");
    }

    #[test]
    fn what_cannot_be_granted_falls_away_and_is_named() {
        let kill_and_boot = [Capability::Kill, Capability::SysBoot];
        let spec = LinuxCapabilitiesBuilder::default()
            .bounding(kill_and_boot)
            .effective(kill_and_boot)
            .permitted(kill_and_boot)
            .inheritable([])
            .ambient([Capability::Kill])
            .build()
            .unwrap();
        let have = CapSet::ALL.without(CapSet::EMPTY.with(Capability::SysBoot));
        let (granted, lost) = Capabilities::from_spec(Some(&spec)).grantable(have);
        assert_eq!(granted.permitted, CapSet::EMPTY.with(Capability::Kill));
        assert_eq!(granted.effective, granted.permitted);
        assert!(granted.ambient.is_empty(), "ambient needs inheritable");
        assert_eq!(
            lost.to_string(),
            "CAP_KILL, CAP_SYS_BOOT",
            "ambient CAP_KILL and CAP_SYS_BOOT are not given"
        );
        assert_eq!(
            Capabilities::from_spec(None),
            Capabilities::default(),
            "no sets, no capabilities"
        );
    }

    /// Capabilities belong to a thread, so that this one can give up its own and end.
    #[test]
    fn a_thread_takes_the_sets_on() {
        let have = CapSet::permitted().unwrap();
        if !have.contains(Capability::Setpcap) {
            eprintln!("SKIP a_thread_takes_the_sets_on: needs CAP_SETPCAP");
            return;
        }
        let kept: CapSet = [Capability::Chown, Capability::Kill].into_iter().collect();
        let kill = CapSet::EMPTY.with(Capability::Kill);
        let sets = Capabilities {
            bounding: kept,
            effective: kill,
            permitted: kept,
            inheritable: kill,
            ambient: kill,
        };
        let status = std::thread::spawn(move || {
            let (sets, lost) = sets.grantable(have);
            assert!(lost.is_empty());
            sets.drop_bounding().unwrap();
            sets.apply().unwrap();
            set_no_new_privs().unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        let status = status.join().unwrap();
        let cases = [
            ("CapBnd", kept),
            ("CapEff", kill),
            ("CapPrm", kept),
            ("CapInh", kill),
            ("CapAmb", kill),
        ];
        for (field, set) in cases {
            assert!(
                status.contains(&format!("{field}:\t{:016x}", set.bits())),
                "{field} in {status}"
            );
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
}
