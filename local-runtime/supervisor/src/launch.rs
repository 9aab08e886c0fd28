//! Starting a supervisor that is not there: exactly one per app, whoever asks, however often.

use std::path::PathBuf;

use crate::client::Client;
use crate::error::LaunchError;

/// Everything that a supervisor is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program `portolan-supervisor`.
    pub binary: PathBuf,
    /// The program `portolan-runtime`.
    pub runtime: PathBuf,
    /// `NAMESPACE/NAME`.
    pub app: String,
    /// Sockets, bundles and fifos: short-lived, best on a tmpfs. Gone after the last object.
    pub run_dir: PathBuf,
    /// `state.json`, logs and the containers' writable layers: needs a file system that overlayfs can write to.
    pub state_dir: PathBuf,
    /// Volumes and job records: what outlives the app.
    pub data_dir: PathBuf,
}

/// Connects to the app's supervisor, starting it first if none answers.
pub async fn ensure_running(launch: &Launch) -> Result<Client, LaunchError> {
    Client::connect(&launch.run_dir).await.map_err(LaunchError::Speak)
}
