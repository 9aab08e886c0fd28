//! What a supervisor and its keeper say to each other: lines of JSON over the keeper's socket.
//!
//! The one who connects opens with [`Hello`]; the keeper answers [`Welcome`]. Each [`ToKeeper`] is answered by one
//! [`ToSupervisor::Answer`], in order; [`ToSupervisor::Connections`] may come between. Everything is told as a whole, so that
//! the same again changes nothing and either side may be replaced at any moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::balance::Table;
use crate::machine::{PortFailure, Process};
use crate::protocol::ErrorBody;
use crate::spec::PortSpec;

/// Raised by any change that an older peer could misread.
pub const VERSION: u32 = 2;

/// Where the keeper of an app with this runtime directory listens.
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("keeper.sock")
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes the place of the supervisor before it.
    Supervisor,
    /// Wants a supervisor to be started now, whatever has become of the ones before. Is told [`Started`], and says
    /// nothing more.
    Caller,
}

/// Whether the supervisor that a caller has asked for is there, or has ended again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started(pub bool);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub version: u32,
    pub pid: u32,
    pub program_version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToKeeper {
    /// Everything that is to be listened on, in place of what was.
    Set(Table),
    /// Binds what a service is about to publish; held until the next `Set` or `Release`.
    Reserve {
        service: String,
        ports: Vec<PortSpec>,
    },
    Release,
    /// Ports that could not be listened on are tried once more.
    TryAgain,
    /// Which processes have ended as children of the keeper.
    Ended,
    /// The supervisor ends on purpose, and the keeper with it. Answered by the end of the connection.
    End,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToSupervisor {
    Answer(Answer),
    /// A replica that is out of the routes has lost its last connection. Open ones of all that still have some.
    Connections(BTreeMap<u64, u32>),
}

/// How things are once a request has been carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Why a `Reserve` failed.
    pub refused: Option<ErrorBody>,
    /// Services with a port that cannot be listened on.
    pub failures: BTreeMap<String, PortFailure>,
    /// Open connections of replicas that are in no route any more.
    pub draining: BTreeMap<u64, u32>,
    /// To `Ended`: the last that were reaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Reaped>,
}

/// A process that a killed supervisor has left to the keeper, and how it ended: 128 + N after signal N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaped {
    pub process: Process,
    pub code: i32,
}
