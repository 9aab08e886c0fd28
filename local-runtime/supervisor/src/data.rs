//! What is left of an app on this machine, told from its folders alone: for a client that asks while no supervisor runs.

use std::path::Path;

use crate::machine::{self, State};
use crate::protocol::{Observation, VolumeStatus};
use crate::spec::Kind;
use crate::storage::{self, Paths, Records};

pub use crate::storage::StorageError;

/// No boot has this id, and none is asked for: nothing that is told here depends on what runs.
const ANY_BOOT: &str = "";

/// Every object as the last supervisor has saved it, and what earlier deletes have kept. Looks; changes nothing.
///
/// The states are those of that time: nobody looks after the containers since. Folders that are not there hold nothing.
/// Errors: `Damaged`, `TooNew`, `Read`.
pub fn last_known(state_dir: &Path, data_dir: &Path) -> Result<Observation, StorageError> {
    let paths = Paths {
        run: state_dir.into(),
        state: state_dir.into(),
        data: data_dir.into(),
    };
    let records = Records::of(&paths);
    let (mut state, _) = storage::load(&paths.state_file(), ANY_BOOT)?;
    match state.is_empty() {
        // Volumes alone are what a delete has kept.
        true => state = State::default(),
        false => state.volumes = records.volumes()?,
    }
    Ok(Observation {
        objects: objects(&state, &paths),
        kept_volumes: without(records.volume_folders(), |name| state.volumes.contains_key(name)),
        kept_job_records: without(records.recorded_jobs(), |name| state.jobs.contains_key(name)),
    })
}

fn objects(state: &State, paths: &Paths) -> Vec<crate::protocol::Observed> {
    let mut objects = machine::observe(state);
    let volumes = objects.iter_mut().filter(|seen| seen.object.kind() == Kind::Volume);
    for volume in volumes {
        let path = paths.volume(volume.object.name());
        volume.volume = Some(VolumeStatus { path });
    }
    objects
}

fn without(mut names: Vec<String>, is_used: impl Fn(&str) -> bool) -> Vec<String> {
    names.retain(|name| !is_used(name));
    names
}
