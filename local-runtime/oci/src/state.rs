//! `state` and `list`: what there is. They only look, and wait for no other verb.

use serde::Serialize;
use std::collections::HashMap;
use std::path::PathBuf;

use crate::container::{Status, Store};
use crate::error::{Error, Result};

/// A container's state as the OCI runtime specification has it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub oci_version: String,
    pub id: String,
    pub status: &'static str,
    /// In the caller's pid namespace; missing once the container has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    pub bundle: PathBuf,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    pub annotations: HashMap<String, String>,
}

pub fn state(store: &Store, id: &str) -> Result<State> {
    let (record, status) = store.look(id)?;
    let pid = (status != Status::Stopped).then_some(record.init.pid);
    Ok(State {
        oci_version: record.oci_version,
        id: id.into(),
        status: status.word(),
        pid,
        bundle: record.bundle,
        annotations: record.annotations,
    })
}

/// All containers by id; one that goes or comes just now is left out.
pub fn list(store: &Store) -> Result<Vec<State>> {
    let mut states = Vec::new();
    for id in store.ids()? {
        match state(store, &id) {
            Err(Error::NotFound { .. } | Error::Status { .. }) => {}
            state => states.push(state?),
        }
    }
    Ok(states)
}
