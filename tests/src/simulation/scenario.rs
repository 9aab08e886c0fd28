//! What a run of the simulation is made of: a value, so that it can be kept, shrunk and run again.

use portolan_provider_fake::platform::Platform;

use super::aim::Aim;
use super::catalogue::Version;
use super::fault::Fault;

#[derive(Clone, Debug)]
pub struct Scenario {
    /// Of everything that is left to chance while it runs.
    pub seed: u64,
    pub platform: &'static Platform,
    pub lag: Lag,
    pub controllers: usize,
    /// Accounts of the platform, among which the apps are spread.
    pub accounts: usize,
    pub scripts: Vec<Script>,
    pub outside: Vec<(u64, Outside)>,
    pub faults: Faults,
}

/// How late reads may be, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    pub list: u64,
    pub description: u64,
}

impl Lag {
    pub fn longest(self) -> u64 {
        self.list.max(self.description)
    }
}

/// What one app shall be, one version after the other.
pub type Script = Vec<(Start, Version)>;

/// When a version is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Once the one before has come to an end, and this many milliseconds later.
    After(u64),
    /// This long after the one before was asked for, whether that has ended or not; who works on it is interrupted.
    Halfway(u64),
    /// As `Halfway`, but nobody says so: it is noticed when the app is looked at again.
    Missed(u64),
}

/// What happens without the engine's doing. Apps are counted from 0, and so are their objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    RemovedByHand {
        app: usize,
        nth: usize,
    },
    ChangedByHand {
        app: usize,
        nth: usize,
    },
    /// Somebody else has an object under a name that the app would give to one of its own.
    NameTaken {
        app: usize,
        nth: usize,
    },
    /// That object is gone again.
    NameFreed {
        app: usize,
        nth: usize,
    },
    /// No call reaches the account for a while.
    TargetAway {
        account: usize,
        ms: u64,
    },
    /// Another account, the next one, stands behind the app's target from now on.
    Moved {
        app: usize,
    },
    /// No controller reaches the lease for a while.
    LeaseAway {
        ms: u64,
    },
    /// A controller stands still for a while, so that its lease passes.
    Stalled {
        controller: usize,
        ms: u64,
    },
    /// A controller is killed.
    Killed {
        controller: usize,
    },
    /// What the controllers have written down is gone, and they with it; whoever brings them back takes longer than reads lag.
    JournalLost,
    /// The app's supervisor is killed, and its keeper with it or not.
    SupervisorKilled {
        app: usize,
        keeper: bool,
    },
    /// A container of the app ends by itself.
    ContainerEnds {
        app: usize,
        nth: usize,
        code: i32,
    },
    /// The machine that the apps are on is started again.
    Rebooted,
}

/// Which calls go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Faults {
    /// These, by the number of the call.
    Listed(Vec<(u64, Fault)>),
    /// Some, at most so many, and among them that which is aimed at.
    Random { most: usize, aim: Aim },
}

impl Outside {
    pub fn is_about(self, one: usize) -> bool {
        let (Self::RemovedByHand { app, .. }
        | Self::ChangedByHand { app, .. }
        | Self::Moved { app }
        | Self::NameTaken { app, .. }
        | Self::NameFreed { app, .. }
        | Self::SupervisorKilled { app, .. }
        | Self::ContainerEnds { app, .. }) = self
        else {
            return false;
        };
        app == one
    }
}

impl Scenario {
    /// So, with these faults.
    pub fn with_faults(&self, faults: Vec<(u64, Fault)>) -> Self {
        Self {
            faults: Faults::Listed(faults),
            ..self.clone()
        }
    }

    /// One app on its own, and nothing goes wrong.
    pub fn alone(platform: &'static Platform, lag: Lag, versions: &[Version]) -> Self {
        let script = versions.iter().map(|version| (Start::After(5_000), *version)).collect();
        Self {
            seed: 1,
            platform,
            lag,
            controllers: 1,
            accounts: 1,
            scripts: vec![script],
            outside: Vec::new(),
            faults: Faults::Listed(Vec::new()),
        }
    }
}
