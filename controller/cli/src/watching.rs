//! Manifests that are watched: read again whenever one has changed, each file as it was last without faults.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use portolan_core::diagnostic::Diagnostic;
use portolan_core::parse::{SourceFile, parse_files};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::args::{ManifestArgs, SelectArgs};
use crate::failure::Failure;
use crate::manifests::{self, Deployment};

/// Editors and `git checkout` write several files, and some of them twice.
const SETTLING: Duration = Duration::from_millis(200);

/// Where the kernel tells nothing, as on a network's file system, changes are found by looking.
const LOOK: Duration = Duration::from_secs(30);

pub struct Watched {
    paths: Vec<PathBuf>,
    target: Option<String>,
    /// Texts without faults, by file.
    good: BTreeMap<PathBuf, SourceFile>,
    changes: mpsc::Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl Watched {
    pub fn new(paths: Vec<PathBuf>, target: Option<String>) -> Result<Self, Failure> {
        let (tell, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |_| {
            // One that waits already says enough.
            _ = tell.try_send(());
        });
        let mut watcher = watcher.ok();
        for path in &paths {
            // Of a file its folder: an editor replaces the file.
            let folder = if path.is_dir() {
                Some(path.as_path())
            } else {
                path.parent()
            };
            let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(std::path::Path::new("."));
            if let Some(watching) = &mut watcher
                && watching.watch(folder, RecursiveMode::NonRecursive).is_err()
            {
                watcher = None;
            }
        }
        Ok(Self {
            paths,
            target,
            good: BTreeMap::new(),
            changes,
            _watcher: watcher,
        })
    }

    /// The first reading, in which every fault counts.
    pub fn read_all(&mut self) -> Result<Vec<Deployment>, Failure> {
        let files = manifests::read_files(&self.arguments())?;
        let deployments = manifests::select_from(files.clone(), &self.select())?;
        self.good = files.into_iter().map(|file| (file.path.clone(), file)).collect();
        Ok(deployments)
    }

    /// What the files say now; nothing if that cannot be told. One with faults goes on as it was; one that is gone is gone.
    pub fn read(&mut self) -> (Option<Vec<Deployment>>, Vec<Diagnostic>) {
        let files = match manifests::read_files(&self.arguments()) {
            Ok(files) => files,
            // An unreadable folder, and one without a single manifest, say nothing about what was in it.
            Err(failure) => return (None, failure.diagnostics),
        };
        let mut faults = Vec::new();
        let mut good = BTreeMap::new();
        for file in files {
            let (_, diagnostics) = parse_files(vec![file.clone()]);
            let path = file.path.clone();
            if diagnostics.iter().any(Diagnostic::is_error) {
                faults.extend(diagnostics);
                if let Some(before) = self.good.remove(&path) {
                    good.insert(path, before);
                }
            } else {
                good.insert(path, file);
            }
        }
        let before = std::mem::replace(&mut self.good, good);
        match self.select_good() {
            Ok(deployments) => (Some(deployments), faults),
            // Each file is good by itself, but not all of them together.
            Err(failure) => {
                self.good = before;
                faults.extend(failure.diagnostics);
                (None, faults)
            }
        }
    }

    /// Waits until something may have changed.
    pub async fn changed(&mut self) {
        _ = timeout(LOOK, self.changes.recv()).await;
        sleep(SETTLING).await;
        _ = self.changes.try_recv();
    }

    fn select_good(&self) -> Result<Vec<Deployment>, Failure> {
        manifests::select_from(self.good.values().cloned().collect(), &self.select())
    }

    fn arguments(&self) -> ManifestArgs {
        ManifestArgs {
            files: self.paths.clone(),
        }
    }

    fn select(&self) -> SelectArgs {
        SelectArgs {
            manifests: self.arguments(),
            apps: Vec::new(),
            target: self.target.clone(),
        }
    }
}
