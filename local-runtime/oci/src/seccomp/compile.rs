//! From what a profile means to a program: a switch over the architecture, a binary tree over the numbers of calls,
//! and for calls whose arguments matter a tree over values or a chain of rules.
//!
//! A call is decided in about ten instructions whatever its number. That matters twice: at each call that the kernel
//! cannot answer from its cache of constant verdicts, and when the filter is loaded, for the kernel fills this cache
//! by running the filter once for every number.

use super::arch::{Abi, X32_BIT};
use super::emit::{Assembler, Compare, Instruction, Label};
use super::policy::{Calls, Condition, Policy, Rule, Test, Verdict};

/// Offsets into `struct seccomp_data` (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What is decided for a range of numbers, or of argument values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Leaf<'a> {
    Return(Verdict),
    Rules {
        rules: &'a [Rule],
        default: Verdict,
        wide: bool,
    },
}

/// All numbers from `start` up to the next range.
#[derive(Debug, Clone, Copy)]
struct Range<'a> {
    start: u32,
    leaf: Leaf<'a>,
}

/// The program for these policies, at most one an ABI. Calls of other architectures kill the thread.
pub(super) fn program(policies: &[Policy]) -> Vec<Instruction> {
    let mut asm = Assembler::default();
    let mut switch = Vec::new();
    for policy in policies.iter().rev().filter(|policy| policy.abi != Abi::X32) {
        let x32 = policies
            .iter()
            .find(|other| policy.abi == Abi::X86_64 && other.abi == Abi::X32);
        let tree = tree(&mut asm, &architecture(policy, x32));
        switch.push((policy.abi.audit(), asm.load(NUMBER, tree)));
    }
    let mut next = asm.returns(Verdict::KILL_THREAD);
    for (audit, tree) in switch {
        next = asm.branch(Compare::Eq, audit, tree, next);
    }
    asm.load(ARCHITECTURE, next);
    asm.finish()
}

/// The ranges of one audit architecture. Where x32 is not in the profile its calls kill; but the number -1, by which
/// a tracer cancels a call, never is an x32 call.
fn architecture<'a>(policy: &'a Policy, x32: Option<&'a Policy>) -> Vec<Range<'a>> {
    let mut ranges = ranges(policy);
    match (policy.abi, x32) {
        (Abi::X86_64, Some(x32)) => ranges.extend(self::ranges(x32)),
        (Abi::X86_64, None) => {
            let cancelled = Leaf::Return(policy.unknown(u32::MAX));
            ranges.push(Range {
                start: X32_BIT,
                leaf: Leaf::Return(Verdict::KILL_THREAD),
            });
            ranges.push(Range {
                start: u32::MAX,
                leaf: cancelled,
            });
        }
        _ => {}
    }
    ranges.dedup_by(|later, earlier| later.leaf == earlier.leaf);
    ranges
}

/// One range for each call, and one for the unknown numbers between two calls.
fn ranges(policy: &Policy) -> Vec<Range<'_>> {
    let mut ranges = Vec::with_capacity(2 * policy.calls.len());
    let mut next = policy.abi.first_number();
    for (number, calls) in &policy.calls {
        if next < *number {
            unknown_ranges(policy, next, *number, &mut ranges);
        }
        ranges.push(Range {
            start: *number,
            leaf: leaf(policy, calls),
        });
        next = number + 1;
    }
    unknown_ranges(policy, next, u32::MAX, &mut ranges);
    ranges
}

fn unknown_ranges<'a>(policy: &Policy, start: u32, end: u32, ranges: &mut Vec<Range<'a>>) {
    let newer = policy
        .newest
        .map(|newest| newest + 1)
        .filter(|newer| (start + 1..end).contains(newer));
    for start in std::iter::once(start).chain(newer) {
        ranges.push(Range {
            start,
            leaf: Leaf::Return(policy.unknown(start)),
        });
    }
}

fn leaf<'a>(policy: &Policy, calls: &'a Calls) -> Leaf<'a> {
    match calls {
        Calls::Always(verdict) => Leaf::Return(*verdict),
        Calls::When(rules) => Leaf::Rules {
            rules,
            default: policy.default,
            wide: policy.abi.is_64_bit(),
        },
    }
}

impl Policy {
    /// The verdict on a call that the profile does not name.
    fn unknown(&self, number: u32) -> Verdict {
        match self.newest {
            Some(newest) if number > newest => Verdict::NO_SUCH_CALL,
            _ => self.default,
        }
    }
}

/// A balanced tree over `ranges`, which are sorted; the number or value is in the accumulator.
fn tree(asm: &mut Assembler, ranges: &[Range<'_>]) -> Label {
    match ranges {
        [] => unreachable!("there is a range from the first number on"),
        [only] => emit_leaf(asm, only.leaf),
        [before, single, after] if before.leaf == after.leaf && single.start + 1 == after.start => {
            let (other, here) = (emit_leaf(asm, before.leaf), emit_leaf(asm, single.leaf));
            asm.branch(Compare::Eq, single.start, here, other)
        }
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let (holds, fails) = (tree(asm, upper), tree(asm, lower));
            asm.branch(Compare::Ge, upper[0].start, holds, fails)
        }
    }
}

fn emit_leaf(asm: &mut Assembler, leaf: Leaf<'_>) -> Label {
    match leaf {
        Leaf::Return(verdict) => asm.returns(verdict),
        Leaf::Rules { rules, default, wide } => {
            value_tree(asm, rules, default, wide).unwrap_or_else(|| chain(asm, rules, default, wide))
        }
    }
}

/// A tree over the values of one argument, for rules that all compare that argument alone and with values of 32
/// bits: a list of allowed socket families costs six comparisons then and not forty.
fn value_tree(asm: &mut Assembler, rules: &[Rule], default: Verdict, wide: bool) -> Option<Label> {
    let arg = rules.first()?.conditions.first()?.arg;
    let mut starts = vec![0];
    for rule in rules {
        let [condition] = rule.conditions[..] else { return None };
        let value = condition.test.single_value(wide).filter(|_| condition.arg == arg)?;
        starts.extend([value, value.saturating_add(1)]);
    }
    starts.sort_unstable();
    starts.dedup();
    let (low, high): (Vec<u64>, Vec<u64>) = starts.into_iter().partition(|start| *start <= u32::MAX.into());
    let verdict = |value| first_match(rules, value).unwrap_or(default);
    let beyond = verdict(u64::from(u32::MAX) + 1);
    if wide && high.iter().any(|start| verdict(*start) != beyond) {
        return None;
    }
    let mut ranges: Vec<_> = low
        .iter()
        .map(|start| Range {
            start: *start as u32,
            leaf: Leaf::Return(verdict(*start)),
        })
        .collect();
    ranges.dedup_by(|later, earlier| later.leaf == earlier.leaf);
    let tree = tree(asm, &ranges);
    let lower = asm.load(lower_half(arg), tree);
    if !wide {
        return Some(lower);
    }
    let beyond = asm.returns(beyond);
    let upper = asm.branch(Compare::Eq, 0, lower, beyond);
    Some(asm.load(upper_half(arg), upper))
}

fn first_match(rules: &[Rule], value: u64) -> Option<Verdict> {
    let rule = rules
        .iter()
        .find(|rule| rule.conditions.iter().all(|condition| condition.test.holds(value)))?;
    Some(rule.verdict)
}

/// The rules one after another; each is a chain of its conditions.
fn chain(asm: &mut Assembler, rules: &[Rule], default: Verdict, wide: bool) -> Label {
    let mut next = asm.returns(default);
    for rule in rules.iter().rev() {
        let mut holds = asm.returns(rule.verdict);
        for condition in rule.conditions.iter().rev() {
            holds = emit_condition(asm, *condition, wide, holds, next);
        }
        next = holds;
    }
    next
}

/// `if condition goto holds else goto fails`, the wide ones as two comparisons of 32 bits.
fn emit_condition(asm: &mut Assembler, condition: Condition, wide: bool, holds: Label, fails: Label) -> Label {
    let (holds, fails) = if condition.test.negated() {
        (fails, holds)
    } else {
        (holds, fails)
    };
    let (lower, upper) = (lower_half(condition.arg), upper_half(condition.arg));
    match condition.test {
        Test::MaskedEq { mask, value, .. } => {
            let next = masked_eq(asm, lower, mask as u32, value as u32, holds, fails);
            if wide {
                masked_eq(asm, upper, (mask >> 32) as u32, (value >> 32) as u32, next, fails)
            } else {
                next
            }
        }
        Test::Ge { value, .. } => ordered(asm, condition.arg, Compare::Ge, value, wide, holds, fails),
        Test::Gt { value, .. } => ordered(asm, condition.arg, Compare::Gt, value, wide, holds, fails),
    }
}

fn masked_eq(asm: &mut Assembler, offset: u32, mask: u32, value: u32, holds: Label, fails: Label) -> Label {
    if mask == 0 {
        return holds;
    }
    let compare = asm.branch(Compare::Eq, value, holds, fails);
    let masked = asm.and(mask, compare);
    asm.load(offset, masked)
}

fn ordered(
    asm: &mut Assembler,
    arg: u8,
    compare: Compare,
    value: u64,
    wide: bool,
    holds: Label,
    fails: Label,
) -> Label {
    let compare = asm.branch(compare, value as u32, holds, fails);
    let lower = asm.load(lower_half(arg), compare);
    if !wide {
        return lower;
    }
    let equal = asm.branch(Compare::Eq, (value >> 32) as u32, lower, fails);
    let greater = asm.branch(Compare::Gt, (value >> 32) as u32, holds, equal);
    asm.load(upper_half(arg), greater)
}

/// Both supported processors are little-endian.
fn lower_half(arg: u8) -> u32 {
    ARGUMENTS + 8 * u32::from(arg)
}

fn upper_half(arg: u8) -> u32 {
    lower_half(arg) + 4
}

impl Test {
    /// The one value that is compared with, or None for a comparison under a mask.
    fn single_value(self, wide: bool) -> Option<u64> {
        let whole = if wide { u64::MAX } else { u32::MAX.into() };
        match self {
            Test::MaskedEq { mask, value, .. } => (mask == whole).then_some(value),
            Test::Ge { value, .. } | Test::Gt { value, .. } => Some(value),
        }
    }

    fn holds(self, argument: u64) -> bool {
        let plain = match self {
            Test::MaskedEq { mask, value, .. } => argument & mask == value,
            Test::Ge { value, .. } => argument >= value,
            Test::Gt { value, .. } => argument > value,
        };
        plain != self.negated()
    }

    fn negated(self) -> bool {
        match self {
            Test::MaskedEq { negated, .. } | Test::Ge { negated, .. } | Test::Gt { negated, .. } => negated,
        }
    }
}
