//! Where the kernel enters this program: before the C library has begun, it runs itself again from a read-only mount of
//! its own file (`portolan_oci::own_program` says why). Only verbs that make processes in containers do.
//!
//! The C library's start takes longer than everything that a container's start does in user space, so that the program
//! which is thrown away must not get there. Until then nothing of that library can be called, not even by the compiler:
//! neither loops that it could take for `strlen`, nor values that are copied by `memcpy`.

use std::arch::{asm, naked_asm};
use std::ffi::CStr;

/// The program's entry point (build.rs names it to the linker). Goes on to the C library's as if nothing had been.
///
/// # Safety
/// To be called by the kernel alone, with the stack as it is for a new program.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn portolan_runtime_start() -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        "mov rbx, rdx", // what a dynamic loader wants called at the end
        "mov rdi, rsp",
        "call {begin}",
        "mov rdx, rbx",
        "jmp _start",
        begin = sym begin,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "mov x19, x0",
        "mov x0, sp",
        "bl {begin}",
        "mov x0, x19",
        "b _start",
        begin = sym begin,
    );
}

/// `stack` is the number of arguments, the arguments, a null pointer, the environment, a null pointer.
///
/// # Safety
/// As for [`portolan_runtime_start`].
unsafe extern "C" fn begin(stack: *const usize) {
    // SAFETY: the kernel's layout of a new program's stack, as above.
    unsafe {
        let count = *stack;
        let arguments = stack.wrapping_add(1);
        let environment = arguments.wrapping_add(count).wrapping_add(1);
        if asks_for_processes(arguments) && !is_read_only() {
            execute_read_only(arguments, environment);
        }
    }
}

/// Whether one of the arguments is such a verb; one that is only the value of an option costs an exec.
///
/// # Safety
/// `arguments` are pointers to strings and end in a null pointer.
unsafe fn asks_for_processes(mut arguments: *const usize) -> bool {
    // SAFETY: nothing behind the null pointer is read.
    unsafe {
        while *arguments != 0 {
            let argument = *arguments as *const u8;
            if is(argument, c"run") || is(argument, c"create") || is(argument, c"exec") {
                return true;
            }
            arguments = arguments.wrapping_add(1);
        }
    }
    false
}

/// # Safety
/// `string` ends in a NUL.
unsafe fn is(string: *const u8, word: &CStr) -> bool {
    let word = word.as_ptr().cast::<u8>();
    let mut at = 0;
    loop {
        // SAFETY: nothing behind the first NUL of either is read. Volatile, lest this becomes a call of `strcmp`.
        let (one, other) = unsafe { (*string.wrapping_add(at), word.wrapping_add(at).read_volatile()) };
        if one != other || one == 0 {
            return one == other;
        }
        at = at.wrapping_add(1);
    }
}

const OWN: &CStr = c"/proc/self/exe";

/// # Safety
/// This must be the only thread.
unsafe fn is_read_only() -> bool {
    /// `struct statfs` (the same as statfs64 here), which nothing fills before the kernel does: a value on the stack would be.
    static mut FOUND: std::mem::MaybeUninit<libc::statfs64> = std::mem::MaybeUninit::uninit();
    let found = &raw mut FOUND;
    let found = found.cast::<libc::statfs64>();
    // SAFETY: the kernel fills the structure, which only this thread knows.
    unsafe {
        let answer = call(libc::SYS_statfs, OWN.as_ptr() as usize, found as usize, 0, 0, 0);
        answer == 0 && (*found).f_flags as u64 & libc::ST_RDONLY != 0
    }
}

/// Comes back only if it fails, which `own_program::check` will find.
///
/// # Safety
/// Both are pointers to strings and end in a null pointer.
unsafe fn execute_read_only(arguments: *const usize, environment: *const usize) {
    /// `struct mount_attr` (mount_setattr(2)): what to set, what to clear, the propagation, no id mapping.
    static READ_ONLY: [u64; 4] = [libc::MOUNT_ATTR_RDONLY, 0, libc::MS_PRIVATE, 0];
    let (here, clone) = (libc::AT_FDCWD as usize, OPEN_TREE_CLONE | libc::O_CLOEXEC as usize);
    let (empty, by_descriptor) = (c"".as_ptr() as usize, libc::AT_EMPTY_PATH as usize);
    let (read_only, size) = (READ_ONLY.as_ptr() as usize, size_of_val(&READ_ONLY));
    // SAFETY: the kernel only reads what is pointed at here.
    unsafe {
        let mount = call(libc::SYS_open_tree, here, OWN.as_ptr() as usize, clone, 0, 0) as usize;
        if call(libc::SYS_mount_setattr, mount, empty, by_descriptor, read_only, size) == 0 {
            let (arguments, environment) = (arguments as usize, environment as usize);
            call(libc::SYS_execveat, mount, empty, arguments, environment, by_descriptor);
        }
    }
}

/// linux/mount.h; not in the libc crate.
const OPEN_TREE_CLONE: usize = 1;

/// A system call; a negative answer is an error's number.
///
/// # Safety
/// Whatever the arguments point at is as the call wants it.
unsafe fn call(number: libc::c_long, one: usize, two: usize, three: usize, four: usize, five: usize) -> isize {
    let mut answer = number as isize;
    // SAFETY: the kernel's calling convention; it changes nothing but what is named here.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!(
            "syscall",
            inlateout("rax") answer,
            in("rdi") one, in("rsi") two, in("rdx") three, in("r10") four, in("r8") five,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
        #[cfg(target_arch = "aarch64")]
        asm!(
            "svc 0",
            in("x8") answer,
            inlateout("x0") one => answer,
            in("x1") two, in("x2") three, in("x3") four, in("x4") five,
            options(nostack),
        );
    }
    answer
}
