//! A canary for attacks: a tree of the host that no container may change or read.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::bundle::Bundle;

/// Files of the host beside the bundle that no container may touch.
pub struct Canary {
    pub folder: PathBuf,
    before: Vec<Look>,
}

type Look = (PathBuf, u32, u64, SystemTime, SystemTime);

/// What the canary's file holds: nowhere else, so that who prints it has read it.
pub const SECRET: &str = "yellow-feathers";

impl Canary {
    pub fn new(bundle: &Bundle) -> Canary {
        let folder = bundle.path("canary");
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(folder.join("secret"), SECRET).unwrap();
        fs::write(folder.join("deep/hosts"), SECRET).unwrap();
        // Times of access that are older than those of change move by the first read (mount(8), "relatime").
        for name in ["secret", "deep/hosts"] {
            let times = FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
            File::options()
                .write(true)
                .open(folder.join(name))
                .unwrap()
                .set_times(times)
                .unwrap();
        }
        let before = look(&folder);
        Canary { folder, before }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn assert_untouched(&self, output: &str, reason: &str) {
        assert!(!output.contains(SECRET), "{reason}: it was read: {output}");
        assert_eq!(look(&self.folder), self.before, "{reason}: {output}");
    }
}

/// Everything below a folder, by what changes when it is touched.
fn look(folder: &Path) -> Vec<Look> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let metadata = fs::symlink_metadata(&entry).unwrap();
        // Looking reads folders, which moves their time of access.
        let read = if metadata.is_dir() {
            SystemTime::UNIX_EPOCH
        } else {
            metadata.accessed().unwrap()
        };
        found.push((
            entry.clone(),
            metadata.mode(),
            metadata.len(),
            metadata.modified().unwrap(),
            read,
        ));
        if metadata.is_dir() {
            found.extend(look(&entry));
        }
    }
    found.sort();
    found
}

#[test]
fn a_canary_shows_who_touches_it() {
    let Some(bundle) = Bundle::new("a_canary_shows_who_touches_it") else {
        return;
    };
    let canary = Canary::new(&bundle);
    canary.assert_untouched("", "nobody");
    assert_eq!(fs::read_to_string(canary.path("secret")).unwrap(), SECRET);
    let read = look(&canary.folder);
    assert_ne!(read, canary.before, "a file was read");
    fs::write(canary.path("deep/new"), "").unwrap();
    assert_ne!(look(&canary.folder), read, "a file was made");
}
