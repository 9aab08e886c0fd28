//! A real Kubernetes for tests, as far as the test needs one.
//!
//! [`ControlPlane`] is etcd, an API server and what runs beside it, with nodes that KWOK plays: it starts in seconds
//! and has room for a thousand pods, none of which runs anything. It is for scale, timing, status and faults.
//! [`Node`] is a cluster of one that runs pods. Their programs are built by `tests/kubetools/build`; where they are missing
//! `start` says [`Error::Missing`], and [`or_skip`] says so of a test.
//!
//! What a test starts ends with it, whether it returns, panics or is killed, and leaves no file: `processes.rs` tells
//! how. The crate knows nothing of Portolan. To follow it, read `control_plane.rs` first, then `node/mod.rs`.

mod address;
mod audit;
mod certificates;
mod control_plane;
mod error;
pub mod image;
mod kubeconfig;
mod kwok;
pub mod leftovers;
pub mod node;
mod place;
mod processes;
mod programs;
mod tools;
mod wait;

pub use audit::Entry;
pub use control_plane::ControlPlane;
pub use error::{Error, Result};
pub use node::Node;
pub use tools::helm;

/// What was started; or nothing, said in the form that `tests/suites.py` judges, where its programs are missing.
///
/// # Panics
///
/// On every other error: it is the test's failure.
pub fn or_skip<T>(test: &str, started: Result<T>) -> Option<T> {
    match started {
        Ok(started) => Some(started),
        Err(missing @ Error::Missing { .. }) => {
            println!("SKIP {test}: {missing}");
            None
        }
        Err(error) => panic!("{}", error::with_causes(&error)),
    }
}

/// A request for a list, by its address, as one for pages of one object: lists then go on from page to page.
pub fn one_a_page(address: &str) -> String {
    match address.split_once("limit=") {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}limit=1{rest}")
        }
        None => address.to_string(),
    }
}
