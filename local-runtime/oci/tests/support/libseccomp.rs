//! libseccomp, loaded while the test runs if the machine has it: the oracle for our compiler.
//!
//! Rules are added as the well-known runtimes add them, so that what is compared is the meaning of a profile and not
//! just the meaning of libseccomp's calls.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSyscall};
use portolan_oci::seccomp::Instruction;

type Context = *mut c_void;

/// `struct scmp_arg_cmp`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Comparison {
    arg: c_uint,
    op: c_int,
    a: u64,
    b: u64,
}

/// `__NR_SCMP_ERROR`: libseccomp has never heard of the name.
const UNKNOWN: c_int = -1;

pub struct Libseccomp {
    init: unsafe extern "C" fn(u32) -> Context,
    release: unsafe extern "C" fn(Context),
    arch_add: unsafe extern "C" fn(Context, u32) -> c_int,
    rule_add: unsafe extern "C" fn(Context, u32, c_int, c_uint, *const Comparison) -> c_int,
    export: unsafe extern "C" fn(Context, c_int) -> c_int,
    resolve: unsafe extern "C" fn(*const c_char) -> c_int,
    resolve_arch: unsafe extern "C" fn(u32, *const c_char) -> c_int,
    name_of: unsafe extern "C" fn(u32, c_int) -> *mut c_char,
}

impl Libseccomp {
    /// None where the library is not installed.
    pub fn load() -> Option<Libseccomp> {
        // SAFETY: the library has no constructor with effects; it stays loaded for the life of the process.
        let handle = unsafe { libc::dlopen(c"libseccomp.so.2".as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            return None;
        }
        // SAFETY: the types of the fields are those of seccomp.h.
        Some(unsafe {
            Libseccomp {
                init: symbol(handle, c"seccomp_init"),
                release: symbol(handle, c"seccomp_release"),
                arch_add: symbol(handle, c"seccomp_arch_add"),
                rule_add: symbol(handle, c"seccomp_rule_add_array"),
                export: symbol(handle, c"seccomp_export_bpf"),
                resolve: symbol(handle, c"seccomp_syscall_resolve_name"),
                resolve_arch: symbol(handle, c"seccomp_syscall_resolve_name_arch"),
                name_of: symbol(handle, c"seccomp_syscall_resolve_num_arch"),
            }
        })
    }

    /// The number of a call on an architecture (`SCMP_ARCH_*`), as the kernel reports it.
    pub fn number(&self, arch: u32, name: &str) -> Option<u32> {
        let name = CString::new(name).unwrap();
        // SAFETY: a terminated string, which is only read.
        let number = unsafe { (self.resolve_arch)(arch, name.as_ptr()) };
        u32::try_from(number).ok()
    }

    /// The name of a call.
    pub fn name(&self, arch: u32, number: u32) -> Option<String> {
        // SAFETY: takes numbers; answers null or a string that we must free.
        let name = unsafe { (self.name_of)(arch, number as c_int) };
        if name.is_null() {
            return None;
        }
        // SAFETY: a terminated string that was allocated for us and is freed once.
        let text = unsafe { CStr::from_ptr(name) }.to_str().unwrap().to_owned();
        // SAFETY: as above.
        unsafe { libc::free(name.cast()) };
        Some(text)
    }

    /// The program that libseccomp makes of `profile`. Err when it refuses a combination of rules.
    pub fn compile(&self, profile: &LinuxSeccomp) -> Result<Vec<Instruction>, c_int> {
        let default = action(profile.default_action(), profile.default_errno_ret());
        // SAFETY: the context is used by this function alone, and released at its end.
        let context = unsafe { (self.init)(default) };
        assert!(!context.is_null());
        let program = self.fill(context, profile, default).map(|()| self.export(context));
        // SAFETY: as above.
        unsafe { (self.release)(context) };
        program
    }

    fn fill(&self, context: Context, profile: &LinuxSeccomp, default: u32) -> Result<(), c_int> {
        for arch in profile.architectures().iter().flatten() {
            // SAFETY: a live context and a number.
            let answer = unsafe { (self.arch_add)(context, *arch as u32) };
            assert!(answer == 0 || answer == -libc::EEXIST, "{arch:?}: {answer}");
        }
        for entry in profile.syscalls().iter().flatten() {
            let verdict = action(entry.action(), entry.errno_ret());
            if verdict != default {
                self.add(context, entry, verdict)?;
            }
        }
        Ok(())
    }

    fn add(&self, context: Context, entry: &LinuxSyscall, verdict: u32) -> Result<(), c_int> {
        for name in entry.names() {
            let terminated = CString::new(name.as_str()).unwrap();
            // SAFETY: a terminated string, which is only read.
            let number = unsafe { (self.resolve)(terminated.as_ptr()) };
            if number == UNKNOWN {
                continue;
            }
            for comparisons in comparisons(entry.args().as_deref().unwrap_or(&[])) {
                let len = comparisons.len() as c_uint;
                // SAFETY: a live context and `len` comparisons, which are only read.
                let answer = unsafe { (self.rule_add)(context, verdict, number, len, comparisons.as_ptr()) };
                // An action that is the default for one architecture alone, or a rule that is there already.
                if answer != 0 && answer != -libc::EACCES {
                    return Err(answer);
                }
            }
        }
        Ok(())
    }

    fn export(&self, context: Context) -> Vec<Instruction> {
        let mut file = tempfile::tempfile().unwrap();
        // SAFETY: a live context and an open descriptor.
        assert_eq!(unsafe { (self.export)(context, file.as_raw_fd()) }, 0);
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes.chunks_exact(8).map(instruction).collect()
    }
}

/// # Safety
/// `F` must be the pointer type of that function.
unsafe fn symbol<F: Copy>(handle: *mut c_void, name: &CStr) -> F {
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
    // SAFETY: a live handle and a terminated name.
    let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!symbol.is_null(), "libseccomp lacks {name:?}");
    // SAFETY: both are pointers, and the caller answers for the type.
    unsafe { std::mem::transmute_copy(&symbol) }
}

fn instruction(bytes: &[u8]) -> Instruction {
    Instruction {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    }
}

/// One rule of all comparisons, or one for each when two look at one argument.
fn comparisons(args: &[LinuxSeccompArg]) -> Vec<Vec<Comparison>> {
    let all: Vec<Comparison> = args.iter().map(comparison).collect();
    let repeated = all
        .iter()
        .any(|one| all.iter().filter(|other| other.arg == one.arg).count() > 1);
    if repeated {
        all.into_iter().map(|one| vec![one]).collect()
    } else {
        vec![all]
    }
}

fn comparison(arg: &LinuxSeccompArg) -> Comparison {
    Comparison {
        arg: arg.index() as c_uint,
        op: arg.op() as c_int,
        a: arg.value(),
        b: arg.value_two().unwrap_or(0),
    }
}

/// `SCMP_ACT_*` of seccomp.h.
pub fn action(action: Action, errno: Option<u32>) -> u32 {
    let errno = errno.unwrap_or(libc::EPERM as u32);
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => 0,
        Action::ScmpActKillProcess => 0x8000_0000,
        Action::ScmpActTrap => 0x0003_0000,
        Action::ScmpActErrno => 0x0005_0000 | errno,
        Action::ScmpActNotify => 0x7fc0_0000,
        Action::ScmpActTrace => 0x7ff0_0000 | errno,
        Action::ScmpActLog => 0x7ffc_0000,
        Action::ScmpActAllow => 0x7fff_0000,
    }
}
