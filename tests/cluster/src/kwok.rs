//! Nodes that KWOK plays: it says of each that it is ready, and of each pod there that it runs. Nothing runs.
//!
//! A pod with the label `pod-container-running-failed.stage.kwok.x-k8s.io: "true"` fails a second or two after it has
//! begun, and one with `pod-init-container-running-failed...` in its init container; their annotations of the same
//! prefix say with which reason, message and exit code.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::tools::Tools;

/// Files that say how: all stages that were built.
pub(crate) fn stages(tools: &Tools) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for stage in entries(&tools.folder().join("stages"))? {
        files.extend(entries(&stage)?);
    }
    files.sort();
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || Error::system(format!("read {}", folder.display()));
    let entries = fs::read_dir(folder).map_err(failed())?;
    entries.map(|entry| Ok(entry.map_err(failed())?.path())).collect()
}

/// `count` nodes as Kubernetes objects, each with room for many pods.
pub(crate) fn nodes(count: usize) -> Value {
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": "2000"});
    let node = |number: usize| {
        let name = format!("kwok-{number}");
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                },
            },
            "status": {"allocatable": room, "capacity": room},
        })
    };
    let items: Vec<Value> = (0..count).map(node).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}
