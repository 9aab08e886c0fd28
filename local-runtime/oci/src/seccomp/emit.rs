//! A small assembler for classic BPF that writes a program from its end to its start.
//!
//! Classic BPF jumps only forwards, so whoever writes backwards knows every target before the jump to it. A
//! conditional jump reaches 255 instructions; where a target is further, a helper is put in between: another copy of
//! the target where that is a return, an unconditional jump (whose offset has 32 bits) otherwise.

use std::collections::HashMap;

use super::policy::Verdict;

/// One instruction, laid out as the kernel's `struct sock_filter` (linux/filter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// A comparison of the accumulator with a constant, as unsigned 32-bit numbers.
#[derive(Debug, Clone, Copy)]
#[repr(u16)]
pub(super) enum Compare {
    Eq = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
    Ge = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16,
    Gt = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16,
}

/// An instruction already written: its distance from the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// The program so far, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    returns: HashMap<Verdict, Label>,
}

impl Assembler {
    /// The program in the order in which it runs: from the instruction written last.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// `return verdict`; one return is shared by all that can reach it.
    pub(super) fn returns(&mut self, verdict: Verdict) -> Label {
        match self.returns.get(&verdict) {
            Some(label) => *label,
            None => self.new_return(verdict),
        }
    }

    /// `accumulator = the 32-bit word at offset of seccomp_data; goto next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.before(next);
        self.push(LOAD, 0, 0, offset)
    }

    /// `accumulator &= mask; goto next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        if mask == u32::MAX {
            return next;
        }
        self.before(next);
        self.push(AND, 0, 0, mask)
    }

    /// `if accumulator <compare> k goto holds else goto fails`.
    pub(super) fn branch(&mut self, compare: Compare, k: u32, holds: Label, fails: Label) -> Label {
        if holds == fails {
            return holds;
        }
        let holds = self.within_reach(holds);
        let fails = self.within_reach(fails);
        let (jt, jf) = (self.distance(holds), self.distance(fails));
        let near = "both were brought within reach";
        self.push(
            compare as u16,
            jt.try_into().expect(near),
            jf.try_into().expect(near),
            k,
        )
    }

    /// The same place, reachable by a conditional jump even when one more instruction is put before that.
    fn within_reach(&mut self, target: Label) -> Label {
        if self.distance(target) < usize::from(u8::MAX) {
            return target;
        }
        let instruction = self.reversed[target.0];
        if instruction.code == RETURN {
            return self.new_return(Verdict(instruction.k));
        }
        self.jump(target)
    }

    /// Makes `next` the instruction that follows the one written next.
    fn before(&mut self, next: Label) {
        if self.distance(next) > 0 {
            self.jump(next);
        }
    }

    fn new_return(&mut self, verdict: Verdict) -> Label {
        let label = self.push(RETURN, 0, 0, verdict.0);
        self.returns.insert(verdict, label);
        label
    }

    fn jump(&mut self, target: Label) -> Label {
        let distance = self
            .distance(target)
            .try_into()
            .expect("programs are far shorter than 4 G instructions");
        self.push(JUMP, 0, 0, distance)
    }

    /// How many instructions lie between the one written next and `target`.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - target.0 - 1
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(Instruction { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }
}
