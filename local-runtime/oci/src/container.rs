//! What is kept of a container between verbs: a folder below the runtime's root, named like the container.
//!
//! ```text
//! ID/                0700; locked (flock) by the verb that works on it
//! ID/config.json     the configuration as it was at create; there before anything else is made
//! ID/state.json      the record; there once there is a process, and whole from then on
//! ID/start           the socket on which the container waits for its start; gone once it was started
//! ```
//!
//! A verb holds the lock from reading the record to its last change, but never while it waits for a container to end.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::bundle;
use crate::error::{Error, Result, invalid};
use crate::identity::Identity;

/// The folder in which all containers' are.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A container whose lock is held for as long as this lives.
#[derive(Debug)]
pub(crate) struct Container {
    pub id: String,
    pub folder: PathBuf,
    lock: File,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub oci_version: String,
    pub bundle: PathBuf,
    #[serde(default)]
    pub annotations: HashMap<String, String>,
    pub init: Identity,
    /// `None` where the container runs without a cgroup of its own.
    pub cgroup: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// There is no record yet.
    Creating,
    Created,
    Running,
    Stopped,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Stopped => "stopped",
        }
    }
}

impl Store {
    pub fn at(root: PathBuf) -> Store {
        Store { root }
    }

    /// Where root's containers are, or this user's.
    pub fn default_root() -> Result<PathBuf> {
        if rustix::process::geteuid().is_root() {
            return Ok("/run/portolan-runtime".into());
        }
        let folder = std::env::var_os("XDG_RUNTIME_DIR").ok_or_else(|| invalid("XDG_RUNTIME_DIR is not set"))?;
        Ok(Path::new(&folder).join("portolan-runtime"))
    }

    /// A new container's folder, locked. Exactly one of several callers gets it.
    pub(crate) fn create(&self, id: &str) -> Result<Container> {
        let folder = self.folder(id)?;
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder
            .recursive(true)
            .create(&self.root)
            .map_err(Error::system("make", self.root.display()))?;
        self.refuse_lax()?;
        match builder.recursive(false).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(invalid(format!("there is a container `{id}` already")))
            }
            made => {
                made.map_err(Error::system("make", folder.display()))?;
                self.open(id)
            }
        }
    }

    /// The container's folder, once no other verb works on it.
    pub(crate) fn open(&self, id: &str) -> Result<Container> {
        let folder = self.folder(id)?;
        loop {
            let lock = File::open(&folder).map_err(missing(id))?;
            let container = Container {
                id: id.into(),
                folder: folder.clone(),
                lock,
            };
            container.lock()?;
            if container.is_named()? {
                return Ok(container);
            }
        }
    }

    /// The record without the lock, for verbs that only look.
    pub(crate) fn look(&self, id: &str) -> Result<(Record, Status)> {
        let folder = self.folder(id)?;
        fs::metadata(&folder).map_err(missing(id))?;
        let record = read_record(&folder)?;
        let record = record.ok_or_else(|| Error::Status {
            id: id.into(),
            status: Status::Creating.word(),
        })?;
        let status = status(&folder, &record);
        Ok((record, status))
    }

    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let failed = || Error::system("read", self.root.display());
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed())?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed())?.file_name().to_string_lossy().into_owned();
            ids.extend(Some(name).filter(|name| check_id(name).is_ok()));
        }
        ids.sort();
        Ok(ids)
    }

    fn folder(&self, id: &str) -> Result<PathBuf> {
        check_id(id).map(|()| self.root.join(id))
    }

    /// Whoever can write here decides what is killed and deleted (CVE-2024-25621).
    fn refuse_lax(&self) -> Result<()> {
        let found = fs::metadata(&self.root).map_err(Error::system("look at", self.root.display()))?;
        if found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0 {
            return Ok(());
        }
        let root = self.root.display();
        Err(invalid(format!(
            "{root} belongs to another user or can be written by others"
        )))
    }
}

impl Container {
    /// `None` if its making was cut off before there was anything to record.
    pub fn record(&self) -> Result<Option<Record>> {
        read_record(&self.folder)
    }

    pub fn status(&self, record: &Record) -> Status {
        status(&self.folder, record)
    }

    /// As a whole: who looks meanwhile sees none or this one.
    pub fn write_record(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec(record).map_err(|error| invalid(error.to_string()))?;
        let (new, path) = (self.folder.join("state.json.new"), self.folder.join("state.json"));
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(Error::system("write", path.display()))
    }

    /// Nobody reads it before there is a record.
    pub fn write_config(&self, text: &[u8]) -> Result<()> {
        let path = self.folder.join("config.json");
        fs::write(&path, text).map_err(Error::system("write", path.display()))
    }

    pub fn config(&self) -> Result<Spec> {
        let path = self.folder.join("config.json");
        let text = fs::read(&path).map_err(Error::system("read", path.display()))?;
        bundle::parse(&text, &path)
    }

    /// Where the container waits for its start: a name that fits into a socket's address however deep the folder is.
    pub fn start_socket(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}/start", self.lock.as_raw_fd()).into()
    }

    /// For the container's own first process, which has a copy of the lock's descriptor and would keep it locked after this
    /// program was killed. It never drops its copy of this value.
    pub fn leave_lock_to_parent(&self) {
        // SAFETY: nothing in that process uses the descriptor from here on.
        unsafe { libc::close(std::os::fd::AsRawFd::as_raw_fd(&self.lock)) };
    }

    /// That it is doing something else than what was asked needs.
    pub fn is(&self, status: Status) -> Error {
        Error::Status {
            id: self.id.clone(),
            status: status.word(),
        }
    }

    fn lock(&self) -> Result<()> {
        rustix::fs::flock(&self.lock, FlockOperation::LockExclusive)
            .map_err(Error::system("lock", self.folder.display()))
    }

    /// Who held the lock before may have deleted the folder, and another may have made it anew.
    fn is_named(&self) -> Result<bool> {
        let locked = self
            .lock
            .metadata()
            .map_err(Error::system("look at", self.folder.display()))?;
        let named = fs::metadata(&self.folder).map_err(missing(&self.id))?;
        Ok(locked.ino() == named.ino())
    }

    /// Lets other verbs work on the container meanwhile.
    pub fn pause_lock(&self) -> Result<()> {
        rustix::fs::flock(&self.lock, FlockOperation::Unlock).map_err(Error::system("unlock", self.folder.display()))
    }

    /// After [`Container::pause_lock`]; `None` if the container was deleted meanwhile.
    pub fn resume_lock(self) -> Result<Option<Container>> {
        self.lock()?;
        match self.is_named() {
            Ok(true) => Ok(Some(self)),
            Ok(false) | Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends the lock, also where a child has a copy of its descriptor.
    pub fn unlock(self) {
        _ = rustix::fs::flock(self.lock.as_fd(), FlockOperation::Unlock);
    }

    /// Removes the folder with all in it.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).map_err(Error::system("remove", self.folder.display()))
    }
}

fn read_record(folder: &Path) -> Result<Option<Record>> {
    let path = folder.join("state.json");
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::system("read", path.display())(error)),
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::system("read", path.display())(error)),
    }
}

fn status(folder: &Path, record: &Record) -> Status {
    match record.init.open() {
        None => Status::Stopped,
        Some(_) if fs::symlink_metadata(folder.join("start")).is_ok() => Status::Created,
        Some(_) => Status::Running,
    }
}

fn missing(id: &str) -> impl FnOnce(io::Error) -> Error {
    let id = id.to_owned();
    move |error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { id },
        _ => Error::system("open container", id)(error),
    }
}

/// The name of a folder and nothing more.
fn check_id(id: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    match id {
        "" | "." | ".." => Err(invalid(format!("`{id}` is no container id"))),
        id if id.len() <= 255 && id.bytes().all(allowed) => Ok(()),
        _ => Err(invalid(format!(
            "`{id}` is no container id: letters, digits and _ + . - are allowed"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_a_folder_and_nothing_else() {
        let long = "x".repeat(256);
        let cases = [
            ("web-1.a_b+c", true, "all that is allowed"),
            ("", false, "empty"),
            (".", false, "the root itself"),
            ("..", false, "its parent"),
            ("../x", false, "a path"),
            ("/etc", false, "an absolute path"),
            ("a\n", false, "a line end"),
            (&long, false, "too long for a file name"),
        ];
        for (id, allowed, reason) in cases {
            assert_eq!(check_id(id).is_ok(), allowed, "{id:?}: {reason}");
        }
    }

    #[test]
    fn a_container_is_made_once_and_gone_once() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::at(root.path().join("state"));
        let container = store.create("one").unwrap();
        assert!(store.create("one").is_err());
        assert_eq!(fs::metadata(&container.folder).unwrap().mode() & 0o777, 0o700);
        container.remove().unwrap();
        assert!(matches!(store.open("one"), Err(Error::NotFound { .. })));
    }

    #[test]
    fn a_folder_that_others_write_to_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(Store::at(root.path().into()).create("one").is_err());
    }
}
