//! What is kept of whose logs, told to all who write them; it may change while they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::spec::LogSpec;

/// Logs are looked at for their age at least so often,
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// and at most so often.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// By the folder of a workload's logs. A handle; all clones are one.
#[derive(Clone, Default)]
pub struct Rules(watch::Sender<BTreeMap<PathBuf, LogSpec>>);

impl Rules {
    /// True if they are others than before.
    pub fn set(&self, rules: BTreeMap<PathBuf, LogSpec>) -> bool {
        self.0.send_if_modified(|known| {
            let differs = *known != rules;
            *known = rules;
            differs
        })
    }

    pub fn all(&self) -> BTreeMap<PathBuf, LogSpec> {
        self.0.borrow().clone()
    }

    /// The rule for the logs in one folder.
    pub fn of(&self, folder: &Path) -> Rule {
        Rule {
            folder: folder.into(),
            all: self.0.subscribe(),
        }
    }
}

#[derive(Clone)]
pub struct Rule {
    folder: PathBuf,
    all: watch::Receiver<BTreeMap<PathBuf, LogSpec>>,
}

impl Rule {
    pub fn now(&self) -> LogSpec {
        self.all.borrow().get(&self.folder).copied().unwrap_or_default()
    }

    /// Until the rule may have changed, or a line may have grown too old.
    pub async fn may_matter(&mut self) {
        let pause = self.now().file_age();
        let ages = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await,
                None => std::future::pending().await,
            }
        };
        let changes = async {
            if self.all.changed().await.is_err() {
                // Nobody is left who could change it.
                std::future::pending().await
            }
        };
        tokio::select! {
            () = ages => {}
            () = changes => {}
        }
    }
}
