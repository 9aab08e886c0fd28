//! The list of devices as an eBPF program, which is how the unified hierarchy takes it (`BPF_PROG_TYPE_CGROUP_DEVICE`).
//!
//! The kernel runs the program at each open and mknod of a device with type, access and numbers in its context, and
//! refuses with EPERM where it returns 0. The instructions are written by hand: one jump for most exceptions, because the
//! kernel checks a program by walking both ways of each jump, at the start of each container.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::devices::{ALL, Devices, Exception, Kind};

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
/// Both numbers in one, as the kernel itself has them.
const DEVICE: u8 = 6;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const OR_REGISTER: u8 = 0x4c;
const SHIFT_LEFT: u8 = 0x64;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_EQUAL: u8 = 0x16;
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_ANY_BIT: u8 = 0x46;
const EXIT: u8 = 0x95;

/// What the kernel has for the two numbers (linux/kdev_t.h).
const MINOR_BITS: u32 = 20;
const MAJOR_BITS: u32 = 12;

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
        instruction(MOVE_REGISTER, DEVICE, MAJOR, 0, 0),
        instruction(SHIFT_LEFT, DEVICE, 0, 0, MINOR_BITS as i32),
        instruction(OR_REGISTER, DEVICE, MINOR, 0, 0),
    ];
    for kind in [Kind::Char, Kind::Block] {
        program.extend(section(kind, devices));
    }
    program.extend(answer(devices.allowed));
    program
}

/// The exceptions of one kind, and the answer where one holds. For another kind the program goes on behind it.
fn section(kind: Kind, devices: &Devices) -> Vec<Instruction> {
    let exceptions = devices.exceptions.iter().filter(|exception| exception.kind == kind);
    let tests: Vec<Instruction> = exceptions
        .filter_map(|exception| tests(exception, devices.allowed))
        .flatten()
        .collect();
    if tests.is_empty() {
        return tests; // the kernel takes no instruction that is never reached
    }
    let no_exception = answer(devices.allowed);
    let exception = answer(!devices.allowed);
    let length = tests.len() + no_exception.len() + exception.len();
    let mut section = vec![instruction(JUMP_NOT_EQUAL, KIND, 0, length as i16, number_of(kind))];
    section.extend(tests);
    section.extend(no_exception);
    // Who tests the numbers jumps to the exceptions' answer, which comes last.
    let end = section.len();
    for (at, one) in section.iter_mut().enumerate() {
        if one.code == JUMP_EQUAL {
            one.offset = (end - at - 1) as i16;
        }
    }
    section.extend(exception);
    section
}

/// One exception: a test of the access where it is not for all of it, and a jump if the numbers are the device's. An
/// exception that allows must cover all that is asked for; one that denies needs to hit only a part of it. `None` for
/// numbers that no device has.
fn tests(exception: &Exception, denies: bool) -> Option<Vec<Instruction>> {
    let numbers = match (exception.major, exception.minor) {
        (Some(major), Some(minor)) if major >> MAJOR_BITS == 0 && minor >> MINOR_BITS == 0 => {
            let device = major << MINOR_BITS | minor;
            instruction(JUMP_EQUAL, DEVICE, 0, 0, device as i32)
        }
        (Some(_), Some(_)) => return None,
        (Some(major), None) => instruction(JUMP_EQUAL, MAJOR, 0, 0, major as i32),
        (None, Some(minor)) => instruction(JUMP_EQUAL, MINOR, 0, 0, minor as i32),
        // Always so; without a condition, what follows would never be reached.
        (None, None) => instruction(JUMP_EQUAL, KIND, 0, 0, number_of(exception.kind)),
    };
    let access = match (denies, ALL & !exception.access) {
        (_, 0) => vec![],
        (false, others) => vec![instruction(JUMP_ANY_BIT, ACCESS, 0, 1, others.into())],
        (true, _) => vec![
            instruction(JUMP_ANY_BIT, ACCESS, 0, 1, exception.access.into()),
            instruction(JUMP, 0, 0, 1, 0),
        ],
    };
    Some(access.into_iter().chain([numbers]).collect())
}

fn number_of(kind: Kind) -> i32 {
    match kind {
        Kind::Block => 1,
        Kind::Char => 2,
    }
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
                OR_REGISTER => registers[to] |= registers[from],
                SHIFT_LEFT => registers[to] <<= immediate,
                SHIFT_RIGHT => registers[to] >>= immediate,
                JUMP => jump(true),
                JUMP_EQUAL => jump(registers[to] == immediate as u32),
                JUMP_NOT_EQUAL => jump(registers[to] != immediate as u32),
                JUMP_ANY_BIT => jump(registers[to] & immediate as u32 != 0),
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
        let nodes = Exception {
            kind: Kind::Block,
            major: None,
            minor: None,
            access: MKNOD,
        };
        let no_such = Exception {
            major: Some(1 << 12),
            minor: Some(3),
            ..null
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
            (context(MKNOD, 1, 8, 0), true, "any device of a kind"),
            (context(READ, 1, 8, 0), false, "of which another access is not listed"),
            (context(READ, 2, 0, 3), false, "numbers that no device has are nobody's"),
        ];
        for (context, allowed, reason) in cases {
            let list = Devices {
                allowed: false,
                exceptions: vec![null, no_such, terminals, nodes],
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
        assert_eq!(
            run(&program(&list), context(READ, 2, 1, 4)),
            1,
            "nor is another device denied"
        );
    }
}
