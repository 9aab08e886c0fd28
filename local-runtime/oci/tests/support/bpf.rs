//! A classic-BPF machine with the instructions that seccomp filters use (linux/filter.h, net/core/filter.c).

use portolan_oci::seccomp::Instruction;

/// What the kernel shows a filter (`struct seccomp_data`).
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub arch: u32,
    pub number: u32,
    pub args: [u64; 6],
}

/// The verdict on `call`, and how many instructions it took.
pub fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let data = words(call);
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    for executed in 1.. {
        let Instruction { code, jt, jf, k } = program[at];
        let jump = |holds: bool| 1 + usize::from(if holds { jt } else { jf });
        at += match code {
            0x20 => {
                accumulator = data[k as usize / 4];
                1
            }
            0x54 => {
                accumulator &= k;
                1
            }
            0x05 => 1 + k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return (k, executed),
            _ => panic!("instruction {at} has the unknown code {code:#x}"),
        };
    }
    unreachable!("a filter only jumps forwards")
}

fn words(call: &Call) -> [u32; 16] {
    let mut words = [0; 16];
    (words[0], words[1]) = (call.number, call.arch);
    for (argument, pair) in call.args.iter().zip(words[4..].chunks_exact_mut(2)) {
        pair.copy_from_slice(&[*argument as u32, (argument >> 32) as u32]);
    }
    words
}
