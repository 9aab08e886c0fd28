//! Where things are kept on this machine, after the XDG Base Directory specification, and where our programs are.

use std::env;
use std::path::PathBuf;

use crate::failure::Failure;

/// Images and volumes: `$XDG_DATA_HOME/portolan`, or below `PORTOLAN_HOME`.
pub fn data() -> Result<PathBuf, Failure> {
    let home = || variable("HOME").map(|home| home.join(".local/share"));
    let named = variable("PORTOLAN_HOME").map(|home| home.join("data"));
    let folder = named.or_else(|| Some(variable("XDG_DATA_HOME").or_else(home)?.join("portolan")));
    folder.ok_or_else(|| {
        Failure::new("HomeMissing", "neither HOME nor PORTOLAN_HOME is set").hint("set PORTOLAN_HOME to a folder")
    })
}

/// One of our programs: where its variable says, else beside this one, else on `PATH`.
pub fn program(name: &str, override_variable: &str) -> Result<PathBuf, Failure> {
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

/// An absolute path from the environment; relative ones are ignored, as XDG asks.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
