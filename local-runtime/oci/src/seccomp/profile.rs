//! The profile that containers get unless they bring one: the calls that Docker's documented default allows.
//!
//! The names follow the default profile of the Moby project as of late 2026. It allows what ordinary programs use,
//! lets a capability in the bounding set bring the calls that are of no use without it, and answers EPERM to the
//! rest. What it says for other processors, and for kernels older than this runtime needs, is left out. A name that
//! one ABI lacks is skipped there, so that one list serves them all.

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use super::arch::Abi;
use crate::capabilities::CapSet;

/// Calls that every container may make, by what they are about.
const ALWAYS: &[&str] = &[
    // files by path
    "access chmod chown chown32 creat faccessat faccessat2 fchmodat fchmodat2 fchownat fstatat64 futimesat lchown \
     lchown32 link linkat lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 \
     readlink readlinkat rename renameat renameat2 rmdir stat stat64 statfs statfs64 statx symlink symlinkat truncate \
     truncate64 unlink unlinkat utime utimensat utimensat_time64 utimes",
    "getxattr getxattrat lgetxattr listxattr listxattrat llistxattr lremovexattr lsetxattr removexattr removexattrat \
     setxattr setxattrat fgetxattr flistxattr fremovexattr fsetxattr",
    "chdir fchdir getcwd umask listmount statmount sync syncfs inotify_add_watch inotify_init inotify_init1 \
     inotify_rm_watch fanotify_mark",
    // open files
    "_llseek cachestat close close_range copy_file_range dup dup2 dup3 fadvise64 fadvise64_64 fallocate fchmod fchown \
     fchown32 fcntl fcntl64 fdatasync flock fstat fstat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 getdents \
     getdents64 ioctl lseek pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile \
     sendfile64 splice sync_file_range tee vmsplice write writev arm_fadvise64_64 arm_sync_file_range sync_file_range2",
    "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old \
     eventfd eventfd2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4",
    "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioprio_get ioprio_set",
    // sockets; `socket` itself has conditions
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 \
     recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair",
    // memory
    "brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 \
     mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages",
    // processes and threads
    "arch_prctl capget capset execve execveat exit exit_group fork get_robust_list get_thread_area getpgid getpgrp \
     getpid getppid getsid gettid kill modify_ldt pidfd_open pidfd_send_signal prctl process_mrelease rseq seccomp \
     set_robust_list set_thread_area set_tid_address set_tls setpgid setsid tgkill tkill uretprobe vfork wait4 waitid \
     waitpid breakpoint cacheflush",
    "process_vm_readv process_vm_writev ptrace",
    "futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake restart_syscall",
    "getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid \
     getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid \
     setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32",
    "getcpu getpriority getrlimit getrusage prlimit64 sched_get_priority_max sched_get_priority_min sched_getaffinity \
     sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 \
     sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setpriority setrlimit ugetrlimit",
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self",
    // signals
    "pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
     rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn",
    // time
    "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
     clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete \
     timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime \
     timerfd_gettime64 timerfd_settime timerfd_settime64 times",
    // System V and POSIX IPC
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 \
     mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget",
    // the machine
    "getrandom sysinfo uname",
];

/// Calls that come with a capability in the bounding set.
const WITH_CAPABILITY: &[(Capability, &str)] = &[
    (Capability::Bpf, "bpf"),
    (Capability::DacReadSearch, "open_by_handle_at"),
    (Capability::Perfmon, "perf_event_open"),
    (
        Capability::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module finit_module init_module"),
    (
        Capability::SysNice,
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    (Capability::SysPacct, "acct"),
    (
        Capability::SysPtrace,
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    (Capability::SysRawio, "ioperm iopl"),
    (Capability::SysTime, "clock_settime clock_settime64 settimeofday stime"),
    (Capability::SysTtyConfig, "vhangup"),
    (Capability::Syslog, "syslog"),
];

/// Socket families below this are all allowed: from AF_UNSPEC, which cannot be made, to AF_ROSE.
const FAMILIES_BELOW: u64 = 12;

/// The other socket families allowed (linux/socket.h): without those that the kernel has dropped, AF_ALG (the kernel's
/// cryptography, more attack surface than use) and AF_VSOCK (one namespace for the whole machine).
#[rustfmt::skip]
const FAMILIES: &[u64] = &[
    13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45,
];

/// Execution domains allowed to personality(2): Linux and 32-bit Linux, each also with UNAME26, and the query.
const PERSONALITIES: &[u64] = &[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Flags of clone(2) that make namespaces: mount, cgroup, UTS, IPC, user, PID, network.
const NAMESPACES: u64 = 0x7e02_0000;

/// The default profile for a container with this bounding set, on this processor.
pub fn default_profile(bounding: CapSet) -> LinuxSeccomp {
    let mut syscalls = vec![allow(ALWAYS.iter().flat_map(|names| names.split_whitespace()))];
    for (capability, names) in WITH_CAPABILITY {
        if bounding.contains(*capability) {
            syscalls.push(allow(names.split_whitespace()));
        }
    }
    if !bounding.contains(Capability::SysAdmin) {
        syscalls.push(allow_when("clone", LinuxSeccompOperator::ScmpCmpMaskedEq, NAMESPACES));
        // Its flags lie in memory, where a filter cannot look: programs shall fall back to clone.
        syscalls.push(refuse("clone3", libc::ENOSYS as u32));
    }
    syscalls.push(allow_when("socket", LinuxSeccompOperator::ScmpCmpLt, FAMILIES_BELOW));
    syscalls.extend(
        FAMILIES
            .iter()
            .map(|family| allow_when("socket", LinuxSeccompOperator::ScmpCmpEq, *family)),
    );
    let personality = |domain: &u64| allow_when("personality", LinuxSeccompOperator::ScmpCmpEq, *domain);
    syscalls.extend(PERSONALITIES.iter().map(personality));
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(libc::EPERM as u32)
        .architectures(architectures())
        .syscalls(syscalls)
        .build()
        .expect("all fields that are required have been set")
}

fn architectures() -> Vec<Arch> {
    match Abi::NATIVE {
        Abi::Aarch64 | Abi::Arm => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        Abi::X86_64 | Abi::X86 | Abi::X32 => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
    }
}

fn allow<'a>(names: impl Iterator<Item = &'a str>) -> LinuxSyscall {
    let names: Vec<String> = names.map(str::to_owned).collect();
    built(
        LinuxSyscallBuilder::default()
            .names(names)
            .action(LinuxSeccompAction::ScmpActAllow),
    )
}

/// Allows `name` when its first argument compares so with `value`, or with zero under the mask `value`.
fn allow_when(name: &str, op: LinuxSeccompOperator, value: u64) -> LinuxSyscall {
    let arg: LinuxSeccompArg = LinuxSeccompArgBuilder::default()
        .index(0_usize)
        .value(value)
        .value_two(0_u64)
        .op(op)
        .build()
        .expect("all fields that are required have been set");
    let action = LinuxSeccompAction::ScmpActAllow;
    built(
        LinuxSyscallBuilder::default()
            .names(vec![name.to_owned()])
            .action(action)
            .args(vec![arg]),
    )
}

fn refuse(name: &str, errno: u32) -> LinuxSyscall {
    let action = LinuxSeccompAction::ScmpActErrno;
    built(
        LinuxSyscallBuilder::default()
            .names(vec![name.to_owned()])
            .action(action)
            .errno_ret(errno),
    )
}

fn built(builder: LinuxSyscallBuilder) -> LinuxSyscall {
    builder.build().expect("all fields that are required have been set")
}
