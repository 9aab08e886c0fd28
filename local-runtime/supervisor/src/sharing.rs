//! Services that apps let each other use.
//!
//! For each port and each app that may use it there is a Unix socket in the runtime directory of the app that serves. Both
//! sides compute its path; that it is there is the permission. The networks of the two stay apart, and it is no matter
//! whether they are in one network namespace.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hash::{digest, hex};
use crate::machine::State;
use crate::spec::Protocol;

/// With the folder's 80 bytes and what stands before it, below the 107 of a socket's path.
const DIGITS: usize = 20;

/// A port of ours that one other app may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Share {
    pub service: String,
    pub port: u16,
    pub socket: PathBuf,
}

/// A port of another app's service, at an address of our own network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Use {
    pub address: SocketAddrV4,
    pub socket: PathBuf,
}

/// What an app with this runtime directory lets others use.
pub fn shares(state: &State, run_dir: &Path) -> Vec<Share> {
    let there = state.services.values().filter(|service| !service.deleting);
    let of_service = |service: &crate::machine::Service| {
        let spec = &service.spec;
        let ports = spec.ports.iter().filter(|port| port.protocol == Protocol::Tcp);
        let share = |port: u16, user: &String| Share {
            service: spec.name.clone(),
            port,
            socket: socket(run_dir, &spec.name, port, user),
        };
        let shares = ports.flat_map(|port| spec.allow.iter().map(|user| share(port.port, user)));
        shares.collect::<Vec<_>>()
    };
    there.flat_map(of_service).collect()
}

/// What an app with this runtime directory uses of others, whether they let it or not.
pub fn uses(state: &State, run_dir: &Path) -> Vec<Use> {
    let (Some(network), Some(user)) = (&state.network, run_dir.file_name()) else {
        return vec![];
    };
    let user = user.to_string_lossy();
    let of_spec = |spec: &crate::spec::UseSpec| {
        let serving = run_dir.with_file_name(&spec.app);
        Some(Use {
            address: SocketAddrV4::new(*network.uses.get(&spec.name)?, spec.port),
            socket: socket(&serving, &spec.service, spec.port, &user),
        })
    };
    network.spec.uses.iter().filter_map(of_spec).collect()
}

fn socket(serving: &Path, service: &str, port: u16, user: &str) -> PathBuf {
    let name = hex(&digest(&format!("{user}/{service}/{port}")));
    serving.join(format!("use-{}", &name[..DIGITS]))
}
