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

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

use super::arch::{Abi, PRIVATE_CALLS};
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
    pub calls: BTreeMap<u32, Calls>,
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
    abis.into_iter().map(|abi| policy(profile, abi, default)).collect()
}

fn policy(profile: &LinuxSeccomp, abi: Abi, default: Verdict) -> Result<Policy, Error> {
    let mut policy = Policy {
        abi,
        default,
        calls: BTreeMap::new(),
        newest: None,
    };
    let mut newest = None;
    for entry in profile.syscalls().iter().flatten() {
        let subject = entry.names().first().map_or("", String::as_str);
        let verdict = verdict(entry.action(), entry.errno_ret(), subject)?;
        let rules = rules(entry, abi, verdict)?;
        for name in entry.names() {
            refuse_unanswerable(entry, name)?;
            let number = abi.number(name);
            newest = newest.max(number.filter(|number| *number < abi.first_number() + PRIVATE_CALLS));
            if verdict != default {
                policy.add(name, number, &rules);
            }
        }
    }
    policy.newest = newest.filter(|_| !default.lets_through());
    Ok(policy)
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

impl Policy {
    fn add(&mut self, name: &str, number: Option<u32>, rules: &[Rule]) {
        if let Some(number) = number {
            self.add_rules(number, rules.to_vec());
        }
        if let Some((call, selector)) = self.abi.multiplexed(name) {
            self.add_rules(call, rules.iter().map(|rule| selected(rule, selector)).collect());
        }
    }

    fn add_rules(&mut self, number: u32, rules: Vec<Rule>) {
        let calls = self.calls.entry(number).or_insert(Calls::When(Vec::new()));
        for rule in rules {
            match calls {
                Calls::Always(_) => return,
                Calls::When(_) if rule.conditions.is_empty() => *calls = Calls::Always(rule.verdict),
                Calls::When(known) if known.contains(&rule) => {}
                Calls::When(known) => known.push(rule),
            }
        }
    }
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
fn rules(entry: &LinuxSyscall, abi: Abi, verdict: Verdict) -> Result<Vec<Rule>, Error> {
    let call = || entry.names().first().cloned().unwrap_or_default();
    let mut conditions = Vec::new();
    for arg in entry.args().iter().flatten() {
        if arg.index() > 5 {
            return Err(Error::ArgumentIndex {
                call: call(),
                index: arg.index(),
            });
        }
        conditions.push(condition(arg, abi));
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

fn condition(arg: &LinuxSeccompArg, abi: Abi) -> Condition {
    use LinuxSeccompOperator as Op;
    let width = if abi.is_64_bit() { u64::MAX } else { u32::MAX.into() };
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
