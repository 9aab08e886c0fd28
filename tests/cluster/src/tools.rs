//! Where the programs and definitions are: the scripts of `tests/kubetools` are asked, and build and fetch nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// A folder that holds the programs asked for.
#[derive(Clone, Debug)]
pub(crate) struct Tools(PathBuf);

impl Tools {
    /// `groups` are those of `tests/kubetools/build`.
    pub(crate) fn find(groups: &[&str]) -> Result<Self> {
        let mut arguments = vec!["--where"];
        arguments.extend(groups);
        folder("build", &arguments).map(Self)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }
}

/// That of the definitions of what a cluster may have installed.
pub(crate) fn definitions() -> Result<PathBuf> {
    folder("definitions", &["--where"])
}

/// Helm, which `tests/kubetools/helm` builds.
pub fn helm() -> Result<PathBuf> {
    folder("helm", &["--where"])
}

/// What a script of `tests/kubetools` prints.
fn folder(script: &str, arguments: &[&str]) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .with_file_name("kubetools")
        .join(script);
    let mut command = Command::new(&script);
    command.args(arguments).stdin(Stdio::null());
    let output = command
        .output()
        .map_err(Error::system(format!("run {}", script.display())))?;
    let said = |text: &[u8]| String::from_utf8_lossy(text).trim().to_string();
    match output.status.success() {
        true => Ok(PathBuf::from(said(&output.stdout))),
        false => Err(Error::Missing {
            what: said(&output.stderr),
        }),
    }
}
