//! This machine as what stands behind an account: the supervisor's own step machine, one for each app, behind the local
//! provider's own words.
//!
//! Everything that decides is what is shipped: the provider renders, translates requests and reads answers; the supervisor
//! admits, steps and observes. What is left to the simulation is what would be done: containers run and end as their image's
//! name says ([`portolan_supervisor::machine::world`]), and each answer to an effect takes its time, so that answers come late
//! and in any order. Read `machine.rs` first, which is called; `supervised.rs` has one app's supervisor, killed, resumed and
//! rebooted; `truth.rs` tells what there is.
//!
//! Not simulated: disks that refuse, ports that others hold, networks that fail, exec and logs; a look starts no supervisor
//! here, though the provider starts one for who has written before; each app has all ports of the host to itself. A state is
//! on disk with the step that made it, also when the power fails.

mod machine;
mod supervised;
mod truth;

use std::net::Ipv4Addr;
use std::sync::Arc;

use portolan_core::plan::Verb;
use portolan_provider_api::Shape;
use portolan_provider_fake::kinds::{BALANCER, JOB, NETWORK, SERVICE, VOLUME};
use portolan_provider_fake::platform::{Fact, Peculiarity, Platform};
use portolan_provider_local::TargetSettings;

pub use machine::ThisMachine;

use super::fault::{Exclusion, Fault, Sites, not};
use super::site::Site;

/// What is peculiar to the supervisor, as far as the invariants ask a table.
pub const LOCAL: Platform = Platform {
    name: "local",
    facts: &[
        Fact {
            is: Peculiarity::NamesAreUnique { kind: JOB.name },
            source: BY_NAME,
        },
        Fact {
            is: Peculiarity::NamesAreUnique { kind: SERVICE.name },
            source: BY_NAME,
        },
    ],
};

const BY_NAME: &str = "local-runtime/supervisor/src/protocol.rs: a put is by name";

pub fn is_this(platform: &Platform) -> bool {
    platform.name == LOCAL.name
}

/// What is unpacked into the machine's store.
pub const IMAGE: &str = "Image";

pub fn shape() -> Arc<dyn Shape> {
    portolan_provider_local::shape(TargetSettings {
        publish_address: Ipv4Addr::LOCALHOST,
        egress: Default::default(),
        secret_files: vec!["/secrets/.env".into()],
    })
}

const NOT_COUNTED: &str = "a socket of this machine: nobody counts requests";
const ONE_MESSAGE: &str = "an answer is one message: all of it or none";
const JUST_STORED: &str = "the supervisor answers from what it has just stored";
const CANNOT_END: &str = "nothing of it runs that could end";

/// What cannot strike here, beside what can strike nowhere.
static EXCLUSIONS: &[Exclusion] = &[
    not(Fault::Throttled, Sites::AllBut(&[Site::Pin]), NOT_COUNTED),
    not(Fault::ThrottledUntil, Sites::AllBut(&[Site::Pin]), NOT_COUNTED),
    not(
        Fault::OtherWriter,
        Sites::Writes,
        "a put is by name, and the last one holds",
    ),
    not(Fault::StaleRead, Sites::Reads, JUST_STORED),
    not(Fault::NotFoundAfterCreate, Sites::Reads, JUST_STORED),
    not(Fault::PartialList, Sites::Reads, ONE_MESSAGE),
    not(Fault::EmptyList, Sites::Reads, ONE_MESSAGE),
    not(Fault::HandleLost, Sites::Writes, "nothing answers with a handle"),
    not(Fault::FailedLate, Sites::Kind(NETWORK.name), CANNOT_END),
    not(Fault::FailedLate, Sites::Kind(VOLUME.name), CANNOT_END),
    not(
        Fault::FailedLate,
        Sites::Verb(Verb::Delete),
        "a delete that was taken is carried out",
    ),
];

/// Whether such a call is made at all, and the fault can strike it.
pub fn can_meet(fault: Fault, site: Site) -> bool {
    let never = match site {
        Site::Write(_, kind) if kind == BALANCER.name => true,
        // There is nothing to change: a volume has a name.
        Site::Write(Verb::Update, kind) => kind == VOLUME.name,
        _ => false,
    };
    !never && !EXCLUSIONS.iter().any(|one| one.fault == fault && one.at.hold(site))
}
