//! What can go wrong on the way, where it can, and when it does.

use super::ledger::Call;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// 429, and when to come again.
    Throttled,
    /// 500, and nothing was done.
    Failed,
    /// 500, and it was done.
    FailedThoughDone,
    /// 410: a watch has lost its place, or a list that goes on has.
    Expired,
    /// The connection ends before anything is done.
    CutBefore,
    /// It ends once it is done.
    CutAfter,
    /// It ends in the midst of the answer; that of a watch after a moment.
    CutAmid,
    /// A list is answered as it was once before.
    Stale,
    /// The answer begins late.
    Slow,
    /// It begins, and does not end.
    Stalled,
}

pub const ALL: &[Fault] = &[
    Fault::Throttled,
    Fault::Failed,
    Fault::FailedThoughDone,
    Fault::Expired,
    Fault::CutBefore,
    Fault::CutAfter,
    Fault::CutAmid,
    Fault::Stale,
    Fault::Slow,
    Fault::Stalled,
];

impl Fault {
    pub fn can_befall(self, call: &Call) -> bool {
        let verb = call.verb;
        match self {
            Self::Expired => verb == "watch" || verb == "list on",
            // What a watch would answer is no whole.
            Self::FailedThoughDone | Self::CutAfter => verb != "watch",
            Self::Stale => verb == "list",
            _ => true,
        }
    }
}

/// Which faults befall each call, how many of them, and from its which time on: one every second time, so that no call is
/// given up.
#[derive(Clone, Debug, Default)]
pub struct Armed {
    pub faults: Vec<Fault>,
    pub each: usize,
    pub first: usize,
}

impl Armed {
    /// Of the call's time with that number, from one on. Different calls begin with different faults.
    pub fn fault(&self, call: &Call, time: usize) -> Option<Fault> {
        let since = time.checked_sub(self.first.max(1))?;
        let possible: Vec<Fault> = self
            .faults
            .iter()
            .copied()
            .filter(|fault| fault.can_befall(call))
            .collect();
        if since % 2 != 0 || since / 2 >= self.each.min(possible.len()) {
            return None;
        }
        let offset: usize = call.of.bytes().chain(call.verb.bytes()).map(usize::from).sum();
        Some(possible[(since / 2 + offset + self.first) % possible.len()])
    }
}
