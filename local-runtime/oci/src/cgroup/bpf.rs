//! The list of devices as an eBPF program, which is how the unified hierarchy takes it (`BPF_PROG_TYPE_CGROUP_DEVICE`).
//!
//! The kernel runs the program at each open and mknod of a device with type, access and numbers in its context, and
//! refuses with EPERM where it returns 0. The instructions are written by hand: five for each exception.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::devices::{Devices, Exception, Kind};

/// `struct bpf_insn` of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination in the lower four bits, source in the upper.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Registers: the answer, the context, and what the start of the program takes out of it.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5e;
const EXIT: u8 = 0x95;

const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: destination | source << 4,
        offset,
        immediate,
    }
}

/// The program: where an exception holds for the device and for all of the access, the opposite of the default.
fn program(devices: &Devices) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for exception in &devices.exceptions {
        program.extend(block(*exception, !devices.allowed));
    }
    program.extend(answer(devices.allowed));
    program
}

/// The instructions for one exception. An exception that allows must cover all that is asked for; one that denies
/// needs to hit only a part of it.
fn block(exception: Exception, allows: bool) -> Vec<Instruction> {
    let kind = if exception.kind == Kind::Block { 1 } else { 2 };
    let access = i32::from(exception.access);
    let mut tests = vec![instruction(JUMP_NOT_EQUAL, KIND, 0, 0, kind)];
    tests.extend(
        exception
            .major
            .map(|major| instruction(JUMP_NOT_EQUAL, MAJOR, 0, 0, major as i32)),
    );
    tests.extend(
        exception
            .minor
            .map(|minor| instruction(JUMP_NOT_EQUAL, MINOR, 0, 0, minor as i32)),
    );
    tests.push(instruction(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0));
    tests.push(instruction(AND, SCRATCH, 0, 0, access));
    let answer = answer(allows);
    if allows {
        tests.push(instruction(JUMP_NOT_EQUAL_REGISTER, SCRATCH, ACCESS, 0, 0));
    } else {
        const JUMP_EQUAL: u8 = 0x16;
        tests.push(instruction(JUMP_EQUAL, SCRATCH, 0, 0, 0));
    }
    // Every jump leaves the block.
    let len = tests.len() + answer.len();
    for (index, test) in tests.iter_mut().enumerate() {
        if test.code & 0x07 == 0x06 {
            test.offset = (len - index - 1) as i16;
        }
    }
    tests.extend(answer);
    tests
}

fn answer(allowed: bool) -> [Instruction; 2] {
    [
        instruction(MOVE, ANSWER, 0, 0, allowed.into()),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// Loads the program for `devices` and makes it the one of `cgroup`, in place of an earlier one of ours.
pub(super) fn enforce(cgroup: BorrowedFd<'_>, devices: &Devices) -> io::Result<()> {
    let old = attached(cgroup)?;
    let program = load(&program(devices))?;
    attach(cgroup, &program, old.as_ref())
}

const PROGRAM_LOAD: libc::c_int = 5;
const PROGRAM_ATTACH: libc::c_int = 8;
const PROGRAM_BY_ID: libc::c_int = 13;
const PROGRAM_QUERY: libc::c_int = 16;
const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

/// `union bpf_attr` for `BPF_PROG_LOAD`, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u32; 2],
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The same for `BPF_PROG_ATTACH`.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// The same for `BPF_PROG_QUERY`.
#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut attributes = Load {
        program_type: CGROUP_DEVICE_PROGRAM,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    let fd = bpf(PROGRAM_LOAD, &mut attributes)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach(cgroup: BorrowedFd<'_>, program: &OwnedFd, old: Option<&OwnedFd>) -> io::Result<()> {
    let mut attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: CGROUP_DEVICE,
        // A container's own runtime may add programs; the strictest of them all decides.
        flags: ALLOW_MULTI | if old.is_some() { REPLACE } else { 0 },
        replaced: old.map_or(0, |old| old.as_raw_fd() as u32),
    };
    bpf(PROGRAM_ATTACH, &mut attributes).map(|_| ())
}

/// The program on this very cgroup, if it has exactly one.
fn attached(cgroup: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut ids = [0_u32; 2];
    let mut query = Query {
        target: cgroup.as_raw_fd() as u32,
        kind: CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        ..Query::default()
    };
    bpf(PROGRAM_QUERY, &mut query)?;
    if query.count != 1 {
        return Ok(None);
    }
    let fd = bpf(PROGRAM_BY_ID, &mut [ids[0], 0, 0])?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: `attributes` has the layout that `command` wants, and what it points at lives through the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::super::devices::{MKNOD, READ, WRITE};
    use super::*;

    /// Runs a program as the kernel would: `context` is access and type, major, minor.
    fn run(program: &[Instruction], context: [u32; 3]) -> u32 {
        let mut registers = [0_u32; 10];
        let mut at = 0;
        loop {
            let Instruction {
                code,
                registers: pair,
                offset,
                immediate,
            } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let mut jump = |holds: bool| at += if holds { offset as usize } else { 0 };
            match code {
                LOAD_WORD => registers[to] = context[offset as usize / 4],
                MOVE => registers[to] = immediate as u32,
                MOVE_REGISTER => registers[to] = registers[from],
                AND => registers[to] &= immediate as u32,
                SHIFT_RIGHT => registers[to] >>= immediate,
                0x16 => jump(registers[to] == immediate as u32),
                JUMP_NOT_EQUAL => jump(registers[to] != immediate as u32),
                JUMP_NOT_EQUAL_REGISTER => jump(registers[to] != registers[from]),
                EXIT => return registers[0],
                _ => panic!("unknown code {code:#x}"),
            }
            at += 1;
        }
    }

    #[test]
    fn the_program_decides_as_the_list_says() {
        let null = Exception {
            kind: Kind::Char,
            major: Some(1),
            minor: Some(3),
            access: READ | WRITE,
        };
        let terminals = Exception {
            kind: Kind::Char,
            major: Some(136),
            minor: None,
            access: READ | WRITE | MKNOD,
        };
        let context = |access: u8, kind, major, minor| [u32::from(access) << 16 | kind, major, minor];
        let cases = [
            (context(READ, 2, 1, 3), true, "what is listed"),
            (context(READ | WRITE, 2, 1, 3), true, "all of what is listed"),
            (context(MKNOD, 2, 1, 3), false, "an access that is not"),
            (
                context(READ | MKNOD, 2, 1, 3),
                false,
                "an access of which a part is not",
            ),
            (context(READ, 1, 1, 3), false, "another kind"),
            (context(READ, 2, 1, 4), false, "another minor"),
            (context(WRITE, 2, 136, 77), true, "any minor"),
        ];
        for (context, allowed, reason) in cases {
            let list = Devices {
                allowed: false,
                exceptions: vec![null, terminals],
            };
            assert_eq!(run(&program(&list), context), u32::from(allowed), "{reason}");
        }
        let list = Devices {
            allowed: true,
            exceptions: vec![null],
        };
        assert_eq!(
            run(&program(&list), context(READ | MKNOD, 2, 1, 3)),
            0,
            "a part denied denies the whole"
        );
        assert_eq!(
            run(&program(&list), context(MKNOD, 2, 1, 3)),
            1,
            "what is not denied is allowed"
        );
    }
}
