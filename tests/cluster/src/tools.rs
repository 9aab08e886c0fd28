//! Where the programs are: `tests/kubetools/build` is asked, and builds nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// A folder that holds the programs asked for.
#[derive(Clone, Debug)]
pub(crate) struct Tools(PathBuf);

impl Tools {
    /// `groups` are those of `tests/kubetools/build`.
    pub(crate) fn find(groups: &[&str]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .with_file_name("kubetools")
            .join("build");
        let mut command = Command::new(&script);
        command.arg("--where").args(groups).stdin(Stdio::null());
        let output = command
            .output()
            .map_err(Error::system(format!("run {}", script.display())))?;
        let said = |text: &[u8]| String::from_utf8_lossy(text).trim().to_string();
        match output.status.success() {
            true => Ok(Self(PathBuf::from(said(&output.stdout)))),
            false => Err(Error::Missing {
                what: said(&output.stderr),
            }),
        }
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }
}
