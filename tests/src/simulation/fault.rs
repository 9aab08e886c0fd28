//! The 14 faults, each in its variants, and where each is possible.

use std::fmt;

use portolan_core::plan::Verb;
use portolan_provider_fake::Rules;
use portolan_provider_fake::kinds::BALANCER;
use portolan_provider_fake::platform::Platform;

use super::local::{self, IMAGE};
use super::site::Site;

/// One way in which a call can go wrong. In the order of the 14; several variants may share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    CrashBeforeSend,
    AnswerLost,
    CrashAfterAnswer,
    /// The write that is cut off is kept whole.
    CrashInWriteKept,
    /// It is lost whole.
    CrashInWriteLost,
    Throttled,
    ThrottledUntil,
    ServerErrorNotApplied,
    ServerErrorApplied,
    OtherWriter,
    StaleRead,
    /// The answer is true when it is made, and arrives long after.
    SlowAnswer,
    PartialList,
    EmptyList,
    NotFoundAfterCreate,
    OperationSlow,
    HandleLost,
    FailedLate,
    SucceededAfterTimeOut,
    CredentialsExpired,
    /// The process ends, and the next one has another idea of the time.
    ClockSkewed,
    Truncated,
    Reordered,
    Oversize,
}

pub const FAULTS: [Fault; 24] = [
    Fault::CrashBeforeSend,
    Fault::AnswerLost,
    Fault::CrashAfterAnswer,
    Fault::CrashInWriteKept,
    Fault::CrashInWriteLost,
    Fault::Throttled,
    Fault::ThrottledUntil,
    Fault::ServerErrorNotApplied,
    Fault::ServerErrorApplied,
    Fault::OtherWriter,
    Fault::StaleRead,
    Fault::SlowAnswer,
    Fault::PartialList,
    Fault::EmptyList,
    Fault::NotFoundAfterCreate,
    Fault::OperationSlow,
    Fault::HandleLost,
    Fault::FailedLate,
    Fault::SucceededAfterTimeOut,
    Fault::CredentialsExpired,
    Fault::ClockSkewed,
    Fault::Truncated,
    Fault::Reordered,
    Fault::Oversize,
];

impl Fault {
    /// Which of the 14 it is.
    pub fn number(self) -> u32 {
        match self {
            Self::CrashBeforeSend => 1,
            Self::AnswerLost => 2,
            Self::CrashAfterAnswer => 3,
            Self::CrashInWriteKept | Self::CrashInWriteLost => 4,
            Self::Throttled | Self::ThrottledUntil => 5,
            Self::ServerErrorNotApplied => 6,
            Self::ServerErrorApplied => 7,
            Self::OtherWriter => 8,
            Self::StaleRead | Self::SlowAnswer => 9,
            Self::PartialList | Self::EmptyList => 10,
            Self::NotFoundAfterCreate => 11,
            Self::OperationSlow | Self::HandleLost | Self::FailedLate | Self::SucceededAfterTimeOut => 12,
            Self::CredentialsExpired | Self::ClockSkewed => 13,
            Self::Truncated | Self::Reordered | Self::Oversize => 14,
        }
    }

    pub fn index(self) -> usize {
        self as usize
    }

    /// Whether it ends the process.
    pub fn is_crash(self) -> bool {
        matches!(
            self,
            Self::CrashBeforeSend
                | Self::CrashAfterAnswer
                | Self::CrashInWriteKept
                | Self::CrashInWriteLost
                | Self::ClockSkewed
        )
    }

    /// Whether a generation may have failed for it, so that holding it is right. What passes is tried again.
    pub fn may_fail_a_generation(self) -> bool {
        matches!(
            self,
            Self::AnswerLost | Self::OtherWriter | Self::FailedLate | Self::CredentialsExpired | Self::Oversize
        )
    }

    /// Whether an account of that platform, which has these rules, can do that.
    pub fn can_strike(self, site: Site, platform: &Platform, rules: &Rules) -> bool {
        let can_meet = match local::is_this(platform) {
            true => local::can_meet(self, site),
            false => self.fits(site, rules),
        };
        can_meet && exclusion(self, site).is_none()
    }

    fn fits(self, site: Site, rules: &Rules) -> bool {
        let Site::Write(verb, kind) = site else { return true };
        let Some(rules) = rules.kind(kind) else { return false };
        match self {
            Self::HandleLost => rules.kind.operation_ms.is_some() && (verb != Verb::Delete || rules.etag),
            _ => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Which sites a row of the exclusions speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sites {
    /// What asks the platform without changing anything.
    Reads,
    Writes,
    Only(Site),
    AllBut(&'static [Site]),
    Verb(Verb),
    Kind(&'static str),
}

impl Sites {
    pub fn hold(self, site: Site) -> bool {
        match (self, site) {
            (Self::Reads, site) => matches!(site, Site::Realm | Site::Observe | Site::Preflight | Site::Pin),
            (Self::Writes, site) => matches!(site, Site::Write(..)),
            (Self::Only(one), site) => one == site,
            (Self::AllBut(sites), site) => !sites.contains(&site),
            (Self::Verb(verb), Site::Write(other, _)) => verb == other,
            (Self::Kind(kind), Site::Write(_, other)) => kind == other,
            (Self::Verb(_) | Self::Kind(_), _) => false,
        }
    }
}

/// A fault that cannot strike there, and why.
#[derive(Debug)]
pub struct Exclusion {
    pub fault: Fault,
    pub at: Sites,
    pub because: &'static str,
}

pub const fn not(fault: Fault, at: Sites, because: &'static str) -> Exclusion {
    Exclusion { fault, at, because }
}

const WRITES_ALONE: &str = "what changes nothing begins, makes and overwrites nothing";
const OBSERVE_ALONE: &str = "nothing else is asked for what there is";
const JOURNAL_ALONE: &str = "the status is written to the journal";
const OF_THIS_MACHINE: &str = "the store of images is this machine's own: who unpacks one has it when the call ends";
const A_RECORD: &str = "a note is a record: the last one holds, and it is there when the call ends";
const NO_SUCH_ANSWER: &str = "the journal is a file of this machine: it answers, or the process has ended";

/// Every pair of fault and site that is left out. What is not here is met.
pub static EXCLUSIONS: &[Exclusion] = &[
    not(
        Fault::AnswerLost,
        Sites::Only(Site::Pin),
        "whoever pulls an image gives up by itself; the engine waits for a build as long as it takes",
    ),
    not(Fault::AnswerLost, Sites::Only(Site::Journal), NO_SUCH_ANSWER),
    not(Fault::CrashInWriteKept, Sites::AllBut(&[Site::Journal]), JOURNAL_ALONE),
    not(Fault::CrashInWriteLost, Sites::AllBut(&[Site::Journal]), JOURNAL_ALONE),
    not(Fault::Throttled, Sites::Only(Site::Journal), NO_SUCH_ANSWER),
    not(Fault::ThrottledUntil, Sites::Only(Site::Journal), NO_SUCH_ANSWER),
    not(Fault::ServerErrorApplied, Sites::Reads, WRITES_ALONE),
    not(Fault::OtherWriter, Sites::Reads, WRITES_ALONE),
    not(
        Fault::OtherWriter,
        Sites::Only(Site::Journal),
        "its lock is held by the one who writes",
    ),
    not(Fault::StaleRead, Sites::AllBut(&[Site::Observe]), OBSERVE_ALONE),
    not(Fault::SlowAnswer, Sites::Only(Site::Journal), NO_SUCH_ANSWER),
    not(Fault::PartialList, Sites::AllBut(&[Site::Observe]), OBSERVE_ALONE),
    not(Fault::EmptyList, Sites::AllBut(&[Site::Observe]), OBSERVE_ALONE),
    not(
        Fault::NotFoundAfterCreate,
        Sites::AllBut(&[Site::Observe]),
        OBSERVE_ALONE,
    ),
    not(Fault::OperationSlow, Sites::Reads, WRITES_ALONE),
    not(Fault::OperationSlow, Sites::Only(Site::Journal), NO_SUCH_ANSWER),
    not(Fault::HandleLost, Sites::Reads, WRITES_ALONE),
    not(Fault::HandleLost, Sites::Only(Site::Journal), NO_SUCH_ANSWER),
    not(
        Fault::HandleLost,
        Sites::Kind(BALANCER.name),
        "no platform of the table answers with a handle for it",
    ),
    not(
        Fault::HandleLost,
        Sites::Only(Site::Write(Verb::Delete, "Network")),
        "no platform of the table answers with a handle for it",
    ),
    not(
        Fault::HandleLost,
        Sites::Only(Site::Write(Verb::Delete, "Volume")),
        "no platform of the table answers with a handle for it",
    ),
    not(Fault::Throttled, Sites::Kind(IMAGE), OF_THIS_MACHINE),
    not(Fault::ThrottledUntil, Sites::Kind(IMAGE), OF_THIS_MACHINE),
    not(Fault::OtherWriter, Sites::Kind(IMAGE), OF_THIS_MACHINE),
    not(Fault::OperationSlow, Sites::Kind(IMAGE), OF_THIS_MACHINE),
    not(Fault::HandleLost, Sites::Kind(IMAGE), OF_THIS_MACHINE),
    not(Fault::FailedLate, Sites::Kind(IMAGE), OF_THIS_MACHINE),
    not(Fault::OtherWriter, Sites::Only(Site::Note), A_RECORD),
    not(Fault::OperationSlow, Sites::Only(Site::Note), A_RECORD),
    not(Fault::HandleLost, Sites::Only(Site::Note), A_RECORD),
    not(Fault::FailedLate, Sites::Only(Site::Note), A_RECORD),
    not(Fault::SucceededAfterTimeOut, Sites::Only(Site::Note), A_RECORD),
    not(Fault::FailedLate, Sites::Reads, WRITES_ALONE),
    not(Fault::FailedLate, Sites::Only(Site::Journal), NO_SUCH_ANSWER),
    not(Fault::SucceededAfterTimeOut, Sites::Reads, WRITES_ALONE),
    not(Fault::SucceededAfterTimeOut, Sites::Only(Site::Journal), NO_SUCH_ANSWER),
    not(Fault::CredentialsExpired, Sites::Only(Site::Journal), "it needs none"),
    not(Fault::Truncated, Sites::Only(Site::Journal), NO_SUCH_ANSWER),
    not(
        Fault::Reordered,
        Sites::AllBut(&[Site::Observe]),
        "no other answer holds a list",
    ),
    not(Fault::Oversize, Sites::Only(Site::Journal), NO_SUCH_ANSWER),
];

/// Why the fault cannot strike at the site; `None` if it can.
pub fn exclusion(fault: Fault, site: Site) -> Option<&'static Exclusion> {
    EXCLUSIONS.iter().find(|one| one.fault == fault && one.at.hold(site))
}

/// Every pair that is possible.
pub fn pairs() -> impl Iterator<Item = (Site, Fault)> {
    Site::all().flat_map(|site| {
        let possible = FAULTS
            .into_iter()
            .filter(move |fault| exclusion(*fault, site).is_none());
        possible.map(move |fault| (site, fault))
    })
}
