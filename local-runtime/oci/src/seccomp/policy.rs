//! What a profile means for one ABI: the calls it names, as numbers, and the verdict on each.
//!
//! OCI's text leaves open how several rules for one call combine. The answers here are those of libseccomp and of
//! the runtimes on top of it, since profiles are written against them:
//!
//! - a name that an ABI does not have is skipped there; a rule whose action is the default action is dropped;
//! - a rule without conditions beats all rules with conditions for that call; of two such rules the first counts;
//! - the conditions of one rule must all hold, unless two of them look at one argument: then each stands alone;
//! - on a 32-bit ABI only the lower 32 bits of an argument and of the value are compared;
//! - on 32-bit x86 a rule for a socket or IPC call also rules its multiplexed form.
//!
//! Where rules with different actions overlap, libseccomp's answer depends on how it sorts them (and it refuses
//! some). Here the first rule that holds is the answer.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

use super::arch::{self, Abi, PRIVATE_CALLS};
use super::error::Error;

/// What the filter returns: an action with its data (`SECCOMP_RET_*` of linux/seccomp.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Verdict(pub u32);

impl Verdict {
    pub(super) const KILL_THREAD: Verdict = Verdict(libc::SECCOMP_RET_KILL_THREAD);
    pub(super) const NO_SUCH_CALL: Verdict = Verdict(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);

    /// Whether a call of which the profile knows nothing goes through, perhaps noticed.
    fn lets_through(self) -> bool {
        let action = self.0 & libc::SECCOMP_RET_ACTION_FULL;
        [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG, libc::SECCOMP_RET_TRACE].contains(&action)
    }
}

/// A comparison of one argument, as unsigned numbers of the ABI's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub arg: u8,
    pub test: Test,
}

/// The six OCI orderings come down to three, each of which may be negated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    MaskedEq { mask: u64, value: u64, negated: bool },
    Ge { value: u64, negated: bool },
    Gt { value: u64, negated: bool },
}

/// All conditions hold: this verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub conditions: Vec<Condition>,
    pub verdict: Verdict,
}

/// The rules for one call: tried in order, then the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Calls {
    Always(Verdict),
    When(Vec<Rule>),
}

/// The whole meaning of a profile on one ABI.
#[derive(Debug)]
pub(super) struct Policy {
    pub abi: Abi,
    pub default: Verdict,
    /// Sorted by number, one entry a number.
    pub calls: Vec<(u32, Calls)>,
    /// Calls numbered above this are newer than the profile and answer ENOSYS, so that programs fall back to older
    /// ones, as they would on an older kernel. None where the default lets unknown calls through.
    pub newest: Option<u32>,
}

/// The meaning of `profile` on each ABI it covers, the native one always included and first.
pub(super) fn policies(profile: &LinuxSeccomp) -> Result<Vec<Policy>, Error> {
    let default = verdict(profile.default_action(), profile.default_errno_ret(), "defaultAction")?;
    if profile.default_action() == LinuxSeccompAction::ScmpActNotify {
        return Err(Error::Notify {
            subject: "defaultAction",
            reason: "nothing could start to listen",
        });
    }
    let mut drafts = drafts(profile);
    for entry in profile.syscalls().iter().flatten() {
        add_entry(entry, default, &mut drafts)?;
    }
    Ok(drafts.into_iter().map(|draft| draft.finish(default)).collect())
}

/// The rules found so far for one ABI, in the order of the profile.
struct Draft {
    abi: Abi,
    rules: Vec<(u32, Rule)>,
    newest: Option<u32>,
}

fn drafts(profile: &LinuxSeccomp) -> Vec<Draft> {
    let mut abis = vec![Abi::NATIVE];
    for abi in profile
        .architectures()
        .iter()
        .flatten()
        .filter_map(|arch| Abi::from_spec(*arch))
    {
        if !abis.contains(&abi) {
            abis.push(abi);
        }
    }
    abis.into_iter()
        .map(|abi| Draft {
            abi,
            rules: Vec::with_capacity(512),
            newest: None,
        })
        .collect()
}

fn add_entry(entry: &LinuxSyscall, default: Verdict, drafts: &mut [Draft]) -> Result<(), Error> {
    let subject = entry.names().first().map_or("", String::as_str);
    let verdict = verdict(entry.action(), entry.errno_ret(), subject)?;
    let (wide, narrow) = (
        rules(entry, u64::MAX, verdict)?,
        rules(entry, u32::MAX.into(), verdict)?,
    );
    for name in entry.names() {
        refuse_unanswerable(entry, name)?;
        let row = arch::find(name);
        for draft in drafts.iter_mut() {
            let number = row.and_then(|row| draft.abi.number_in(row));
            draft.newest = draft
                .newest
                .max(number.filter(|number| *number < draft.abi.first_number() + PRIVATE_CALLS));
            if verdict != default {
                draft.add(name, number, if draft.abi.is_64_bit() { &wide } else { &narrow });
            }
        }
    }
    Ok(())
}

/// The runtime itself writes between loading the filter and starting the program, when nobody listens yet.
fn refuse_unanswerable(entry: &LinuxSyscall, name: &str) -> Result<(), Error> {
    if entry.action() == LinuxSeccompAction::ScmpActNotify && name == "write" {
        return Err(Error::Notify {
            subject: "write",
            reason: "the runtime needs it to hand over the listener",
        });
    }
    Ok(())
}

impl Draft {
    fn add(&mut self, name: &str, number: Option<u32>, rules: &[Rule]) {
        if let Some(number) = number {
            self.rules.extend(rules.iter().map(|rule| (number, rule.clone())));
        }
        if let Some((call, selector)) = self.abi.multiplexed(name) {
            self.rules
                .extend(rules.iter().map(|rule| (call, selected(rule, selector))));
        }
    }

    fn finish(mut self, default: Verdict) -> Policy {
        self.rules.sort_by_key(|(number, _)| *number);
        let calls = self
            .rules
            .chunk_by(|one, other| one.0 == other.0)
            .map(|rules| (rules[0].0, combine(rules)));
        let newest = self.newest.filter(|_| !default.lets_through());
        Policy {
            abi: self.abi,
            default,
            calls: calls.collect(),
            newest,
        }
    }
}

/// A rule without conditions beats all others; the same rule twice is one rule.
fn combine(rules: &[(u32, Rule)]) -> Calls {
    if let Some((_, rule)) = rules.iter().find(|(_, rule)| rule.conditions.is_empty()) {
        return Calls::Always(rule.verdict);
    }
    let mut combined: Vec<Rule> = Vec::with_capacity(rules.len());
    for (_, rule) in rules {
        if !combined.contains(rule) {
            combined.push(rule.clone());
        }
    }
    Calls::When(combined)
}

/// The rule for the multiplexed form: the selector takes the place of any condition on the first argument.
fn selected(rule: &Rule, selector: u64) -> Rule {
    let selector = Test::MaskedEq {
        mask: u32::MAX.into(),
        value: selector,
        negated: false,
    };
    let others = rule.conditions.iter().filter(|condition| condition.arg != 0);
    let conditions = std::iter::once(Condition { arg: 0, test: selector })
        .chain(others.copied())
        .collect();
    Rule {
        conditions,
        verdict: rule.verdict,
    }
}

/// One rule of all conditions, or one for each when two of them look at the same argument.
fn rules(entry: &LinuxSyscall, width: u64, verdict: Verdict) -> Result<Vec<Rule>, Error> {
    let call = || entry.names().first().cloned().unwrap_or_default();
    let mut conditions = Vec::new();
    for arg in entry.args().iter().flatten() {
        if arg.index() > 5 {
            return Err(Error::ArgumentIndex {
                call: call(),
                index: arg.index(),
            });
        }
        conditions.push(condition(arg, width));
    }
    let repeats = |c: &Condition| conditions.iter().filter(|other| other.arg == c.arg).count() > 1;
    if conditions.iter().any(repeats) {
        return Ok(conditions
            .into_iter()
            .map(|c| Rule {
                conditions: vec![c],
                verdict,
            })
            .collect());
    }
    conditions.sort_by_key(|condition| condition.arg);
    Ok(vec![Rule { conditions, verdict }])
}

fn condition(arg: &LinuxSeccompArg, width: u64) -> Condition {
    use LinuxSeccompOperator as Op;
    let value = arg.value() & width;
    let masked = |mask: u64, value: u64, negated| Test::MaskedEq {
        mask,
        value: value & mask,
        negated,
    };
    let test = match arg.op() {
        Op::ScmpCmpEq => masked(width, value, false),
        Op::ScmpCmpNe => masked(width, value, true),
        Op::ScmpCmpMaskedEq => masked(value, arg.value_two().unwrap_or(0), false),
        Op::ScmpCmpGe => Test::Ge { value, negated: false },
        Op::ScmpCmpLt => Test::Ge { value, negated: true },
        Op::ScmpCmpGt => Test::Gt { value, negated: false },
        Op::ScmpCmpLe => Test::Gt { value, negated: true },
    };
    Condition {
        arg: arg.index() as u8,
        test,
    }
}

/// The verdict of an action; `errnoRet` counts for ERRNO and TRACE and is EPERM unless given.
fn verdict(action: LinuxSeccompAction, errno: Option<u32>, subject: &str) -> Result<Verdict, Error> {
    use LinuxSeccompAction as Action;
    let errno = errno.unwrap_or(libc::EPERM as u32);
    if errno > 4095 {
        return Err(Error::Errno {
            subject: subject.to_owned(),
            errno,
        });
    }
    Ok(Verdict(match action {
        Action::ScmpActKill | Action::ScmpActKillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::ScmpActKillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        Action::ScmpActErrno => libc::SECCOMP_RET_ERRNO | errno,
        Action::ScmpActTrace => libc::SECCOMP_RET_TRACE | errno,
        Action::ScmpActNotify => libc::SECCOMP_RET_USER_NOTIF,
        Action::ScmpActLog => libc::SECCOMP_RET_LOG,
        Action::ScmpActAllow => libc::SECCOMP_RET_ALLOW,
    }))
}
