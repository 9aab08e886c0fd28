//! What outlives an app on this machine, told from its data folder alone: for a client that asks while no supervisor runs.

use std::path::Path;

use crate::storage::{Paths, Records};

/// Names of what an earlier delete has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub volumes: Vec<String>,
    pub job_records: Vec<String>,
}

/// Looks; changes nothing. A folder that is not there holds nothing.
pub fn kept(data_dir: &Path) -> Kept {
    let paths = Paths {
        run: data_dir.into(),
        state: data_dir.into(),
        data: data_dir.into(),
    };
    let records = Records::of(&paths);
    Kept {
        volumes: records.volume_folders(),
        job_records: records.recorded_jobs(),
    }
}
