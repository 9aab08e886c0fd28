//! Where things are kept on this machine, after the XDG Base Directory specification, and where our programs are.

use std::env;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Folders of this user. `PORTOLAN_HOME` puts all of them below one.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Journal, supervisors' state, logs: `$XDG_STATE_HOME/portolan`.
    pub state: PathBuf,
    /// Images and volumes: `$XDG_DATA_HOME/portolan`.
    pub data: PathBuf,
    /// What may be lost: `$XDG_CACHE_HOME/portolan`.
    pub cache: PathBuf,
    /// Sockets and bundles: `$XDG_RUNTIME_DIR/portolan`; for root without one `/run/portolan`.
    pub run: PathBuf,
}

impl Folders {
    pub fn of_this_user() -> Result<Self, Failure> {
        if let Some(home) = env::var_os("PORTOLAN_HOME").filter(|home| !home.is_empty()) {
            let home = PathBuf::from(home);
            if !home.is_absolute() {
                return Err(
                    Failure::usage("HomeRelative", format!("PORTOLAN_HOME is `{}`", home.display()))
                        .because("a relative folder would be another one in each folder you are in")
                        .hint("write it from the root: PORTOLAN_HOME=\"$PWD/...\""),
                );
            }
            return Ok(Self {
                state: home.join("state"),
                data: home.join("data"),
                cache: home.join("cache"),
                run: home.join("run"),
            });
        }
        let state = folder("XDG_STATE_HOME", ".local/state")?;
        let run = match variable("XDG_RUNTIME_DIR") {
            Some(path) => path.join("portolan"),
            None if is_roots(Path::new("/run")) => PathBuf::from("/run/portolan"),
            None => state.join("run"),
        };
        Ok(Self {
            data: folder("XDG_DATA_HOME", ".local/share")?,
            cache: folder("XDG_CACHE_HOME", ".cache")?,
            state,
            run,
        })
    }

    /// Remembers the user namespace of an unprivileged user's containers.
    pub fn user_namespace(&self) -> PathBuf {
        self.state.join("user-namespace")
    }

    /// The local image store.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Layers and file hashes that builds remember.
    pub fn build_cache(&self) -> PathBuf {
        self.cache.join("build")
    }
}

/// Not for the root of a user namespace, to whom the machine's folders are somebody else's.
fn is_roots(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owned = std::fs::metadata(folder).is_ok_and(|found| found.uid() == 0);
    rustix::process::geteuid().is_root() && owned
}

fn folder(name: &str, below_home: &str) -> Result<PathBuf, Failure> {
    if let Some(path) = variable(name) {
        return Ok(path.join("portolan"));
    }
    let home = variable("HOME").ok_or_else(|| {
        Failure::new("HomeMissing", "neither HOME nor PORTOLAN_HOME is set").hint("set PORTOLAN_HOME to a folder")
    })?;
    Ok(home.join(below_home).join("portolan"))
}

/// One of our programs: where its variable says, else beside this one, else on `PATH`.
fn program(name: &str, override_variable: &str) -> Result<PathBuf, Failure> {
    let beside = || env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(name)));
    let on_path = || {
        let path = env::var_os("PATH")?;
        env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    };
    variable(override_variable)
        .or_else(|| beside().filter(|file| file.is_file()))
        .or_else(on_path)
        .ok_or_else(|| {
            Failure::new("ProgramMissing", format!("`{name}` was not found")).hint(format!(
                "it belongs beside `portolan`; build it with `cargo build --release`, or set {override_variable}"
            ))
        })
}

/// The program that runs containers.
pub fn runtime() -> Result<PathBuf, Failure> {
    program("portolan-runtime", "PORTOLAN_RUNTIME")
}

/// The program that keeps one app's containers.
pub fn supervisor() -> Result<PathBuf, Failure> {
    program("portolan-supervisor", "PORTOLAN_SUPERVISOR")
}

/// An absolute path from the environment; relative ones are ignored, as XDG asks.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
