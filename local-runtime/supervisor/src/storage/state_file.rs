//! `state.json`: the machine's state with a format number and the boot it belongs to.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Durability, StorageError, read_optional, write_atomically};
use crate::machine::State;

const FORMAT: u64 = 1;

#[derive(Serialize)]
struct Written<'a> {
    format: u64,
    boot_id: &'a str,
    state: &'a State,
}

#[derive(Deserialize)]
struct Read {
    boot_id: String,
    state: State,
}

#[derive(Deserialize)]
struct Head {
    format: u64,
}

/// The state that was saved last, and whether this is still the same boot of the machine. A fresh one if there is no file.
///
/// Errors: `Damaged`, `TooNew`; then nothing is changed.
pub fn load(path: &Path, boot_id: &str) -> Result<(State, bool), StorageError> {
    let Some(content) = read_optional(path)? else {
        return Ok((State::default(), true));
    };
    let damaged = |source| StorageError::Damaged {
        path: path.into(),
        source,
    };
    let head: Head = serde_json::from_slice(&content).map_err(damaged)?;
    if head.format > FORMAT {
        return Err(StorageError::TooNew {
            path: path.into(),
            found: head.format,
            known: FORMAT,
        });
    }
    let read: Read = serde_json::from_slice(&content).map_err(damaged)?;
    let same_boot = read.boot_id == boot_id;
    Ok((read.state, same_boot))
}

/// Writes unless the content is `last`, which becomes what was written. It survives the end of this process.
pub fn save(path: &Path, boot_id: &str, state: &State, last: &mut Vec<u8>) -> Result<(), StorageError> {
    let written = Written {
        format: FORMAT,
        boot_id,
        state,
    };
    let content = serde_json::to_vec(&written).expect("the state has string and number keys only");
    if content == *last {
        return Ok(());
    }
    write_atomically(path, &content, Durability::Process)?;
    *last = content;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert_eq!(
            load(&path, "a").unwrap(),
            (State::default(), true),
            "no file is a fresh start"
        );
        let mut last = vec![];
        let inode = || fs::metadata(&path).map(|file| file.ino()).unwrap();
        save(&path, "a", &State::default(), &mut last).unwrap();
        let first = inode();
        save(&path, "a", &State::default(), &mut last).unwrap();
        assert_eq!(inode(), first, "the same is not written again");
        assert!(!load(&path, "b").unwrap().1, "another boot is noticed");
        let content = fs::read(&path).unwrap();
        fs::write(&path, &content[..content.len() / 2]).unwrap();
        assert!(
            matches!(load(&path, "a"), Err(StorageError::Damaged { .. })),
            "a torn file"
        );
        fs::write(&path, r#"{"format":99,"anything":1}"#).unwrap();
        assert!(
            matches!(load(&path, "a"), Err(StorageError::TooNew { found: 99, .. })),
            "a newer program's file"
        );
    }
}
