//! What is to come, in the order of time, and where times are equal in the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use portolan_engine::machine::EffectId;

use super::lease::LeaseAsk;

/// Something that is going to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Token {
    /// The call may leave, arrives, or its answer does.
    Flight(FlightId),
    /// A run wants to be woken, unless it has been stepped since.
    Wake {
        app: usize,
        controller: usize,
        run: u64,
        turn: u64,
    },
    /// An app is looked at.
    Begin {
        app: usize,
    },
    /// The next version is asked for.
    Script {
        app: usize,
        position: usize,
    },
    Outside {
        index: usize,
    },
    Restart {
        controller: usize,
    },
    /// A controller asks for the lease, or for more of it.
    Lease {
        controller: usize,
    },
    /// It is asked for where it is kept.
    LeaseAsked(LeaseAsk),
    /// The answer is there: it was given.
    LeaseGiven(LeaseAsk),
}

/// Which call of which run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlightId {
    pub run: u64,
    pub effect: EffectId,
}

#[derive(Default)]
pub struct Agenda {
    planned: BinaryHeap<Reverse<(u64, u64, Token)>>,
    count: u64,
}

impl Agenda {
    pub fn plan(&mut self, at: u64, token: Token) {
        self.count += 1;
        self.planned.push(Reverse((at, self.count, token)));
    }

    pub fn next(&mut self) -> Option<(u64, Token)> {
        let Reverse((at, _, token)) = self.planned.pop()?;
        Some((at, token))
    }
}
