//! What outlives the app: which volumes there are, and which revisions of which jobs have succeeded.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use super::{
    Durability, Paths, StorageError, create_folder, read_optional, remove_file, remove_folder, write_atomically,
};
use crate::spec::VolumeSpec;

/// A job's record keeps so many revisions, the latest ones.
const REVISIONS_KEPT: usize = 200;

#[derive(Default, Serialize, Deserialize)]
struct JobRecord {
    succeeded: Vec<Success>,
}

#[derive(Serialize, Deserialize)]
struct Success {
    revision: String,
    unix_ms: u64,
}

/// The data folder.
#[derive(Clone, Debug)]
pub struct Records {
    paths: Paths,
}

impl Records {
    pub fn of(paths: &Paths) -> Records {
        Records { paths: paths.clone() }
    }

    pub fn volumes(&self) -> Result<BTreeMap<String, VolumeSpec>, StorageError> {
        let path = self.paths.volume_list();
        let Some(content) = read_optional(&path)? else {
            return Ok(BTreeMap::new());
        };
        serde_json::from_slice(&content).map_err(|source| StorageError::Damaged { path, source })
    }

    /// Writes the list; makes the folders of those in it.
    pub fn set_volumes(&self, volumes: &BTreeMap<String, VolumeSpec>) -> Result<(), StorageError> {
        for name in volumes.keys() {
            self.create_volume(name)?;
        }
        if volumes.is_empty() {
            return remove_file(&self.paths.volume_list());
        }
        let content = serde_json::to_vec(volumes).expect("specs have string keys only");
        write_atomically(&self.paths.volume_list(), &content, Durability::Power)
    }

    /// The folder itself may be used by any user of a container: what is above it is closed to others.
    fn create_volume(&self, name: &str) -> Result<(), StorageError> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.paths.volume(name);
        if path.is_dir() {
            return Ok(());
        }
        create_folder(&path)?;
        let open = fs::set_permissions(&path, fs::Permissions::from_mode(0o777));
        open.map_err(|source| StorageError::Write { path, source })
    }

    /// Removes a volume's data. Tells whether there was any.
    pub fn erase_volume(&self, name: &str) -> Result<bool, StorageError> {
        let path = self.paths.volume(name);
        let there = path.exists();
        remove_folder(&path)?;
        Ok(there)
    }

    pub fn volume_folders(&self) -> Vec<String> {
        names_in(&self.paths.volumes(), "")
    }

    pub fn has_succeeded(&self, job: &str, revision: &str) -> Result<bool, StorageError> {
        Ok(self.job(job)?.succeeded.iter().any(|s| s.revision == revision))
    }

    pub fn record_success(&self, job: &str, revision: &str, unix_ms: u64) -> Result<(), StorageError> {
        let mut record = self.job(job)?;
        record.succeeded.retain(|s| s.revision != revision);
        record.succeeded.push(Success {
            revision: revision.into(),
            unix_ms,
        });
        let surplus = record.succeeded.len().saturating_sub(REVISIONS_KEPT);
        record.succeeded.drain(..surplus);
        create_folder(&self.paths.jobs())?;
        let content = serde_json::to_vec(&record).expect("records have string keys only");
        write_atomically(&self.paths.job_record(job), &content, Durability::Power)
    }

    /// Removes a job's record. Tells whether there was one.
    pub fn erase_job(&self, job: &str) -> Result<bool, StorageError> {
        let path = self.paths.job_record(job);
        let there = path.exists();
        remove_file(&path)?;
        Ok(there)
    }

    pub fn recorded_jobs(&self) -> Vec<String> {
        names_in(&self.paths.jobs(), ".json")
    }

    /// Removes the folders that are empty; what holds data stays.
    pub fn remove_empty_folders(&self) {
        for path in [self.paths.volumes(), self.paths.jobs(), self.paths.data.clone()] {
            // ENOTEMPTY is the expected answer where data is kept.
            let _ = fs::remove_dir(path);
        }
    }

    fn job(&self, job: &str) -> Result<JobRecord, StorageError> {
        let path = self.paths.job_record(job);
        let Some(content) = read_optional(&path)? else {
            return Ok(JobRecord::default());
        };
        serde_json::from_slice(&content).map_err(|source| StorageError::Damaged { path, source })
    }
}

fn names_in(folder: &std::path::Path, suffix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let name = |e: fs::DirEntry| {
        e.file_name()
            .to_str()
            .and_then(|n| n.strip_suffix(suffix))
            .map(str::to_string)
    };
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_remembered_by_revision_until_erased() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            run: folder.path().into(),
            state: folder.path().into(),
            data: folder.path().join("data"),
        };
        let records = Records::of(&paths);
        assert!(!records.has_succeeded("migrate", "1").unwrap());
        records.record_success("migrate", "1", 5).unwrap();
        assert!(records.has_succeeded("migrate", "1").unwrap());
        assert!(
            !records.has_succeeded("migrate", "2").unwrap(),
            "another revision has not run"
        );
        assert_eq!(records.recorded_jobs(), ["migrate"]);
        assert!(records.erase_job("migrate").unwrap());
        records.remove_empty_folders();
        assert!(!paths.data.exists(), "nothing is left once all is erased");
    }
}
