//! One writer for each app on each target of this machine: a lock on a file, let go by the kernel when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use portolan_core::name::{NameGrammar, native_name};

use super::{AppKey, JournalError, Lock};

struct FileLock {
    _file: File,
}

impl Lock for FileLock {}

/// Takes the lock, and leaves our process id in its file for those who come too late.
pub fn take(folder: &Path, key: &AppKey) -> Result<Box<dyn Lock>, JournalError> {
    let failed = |source: std::io::Error| JournalError::Access {
        operation: "take the lock",
        key: key.clone(),
        source: source.into(),
    };
    let mut file = open(&folder.join(file_name(key))).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(JournalError::Busy {
                key: key.clone(),
                pid: holder(&mut file),
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    write_holder(&mut file).map_err(failed)?;
    Ok(Box::new(FileLock { _file: file }))
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path)
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Who holds it, if that can be read: the holder may just be writing it.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn file_name(key: &AppKey) -> String {
    let grammar = NameGrammar {
        max_length: 120,
        separator: '-',
        also: "",
    };
    let name = native_name(&[&key.namespace, &key.app, &key.target], grammar);
    format!("{name}.lock")
}
