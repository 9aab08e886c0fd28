//! The clusters that tests start, tested themselves: they do what a test wants of them, and leave nothing.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod control_plane;
mod killed;
mod node;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use portolan_cluster::ControlPlane;

/// Where it keeps everything.
fn folder_of(plane: &ControlPlane) -> PathBuf {
    plane.kubeconfig().parent().unwrap().to_path_buf()
}

/// Asks until the answer is there.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}
