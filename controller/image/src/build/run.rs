//! RUN: one command in a container of our own runtime, on an overlay of the layers so far. What it writes lands in an
//! upper directory, which becomes the layer. The runtime mounts everything inside the container's own mount
//! namespace: on the host there is never a mount to clean up.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::error::StepError;
use super::tree::set_time;
use super::workspace::Stop;

/// Lines of output that an error shows.
const KEPT_LINES: usize = 20;
/// Longest line passed on, in bytes; what is longer is cut into several.
const MAX_LINE: usize = 16 << 10;

/// A bundle that is ready to run.
#[derive(Debug)]
pub(super) struct Prepared {
    pub runtime: PathBuf,
    /// Where the runtime keeps what it knows of running containers.
    pub state: PathBuf,
    pub bundle: PathBuf,
    pub id: String,
}

/// Ends the container when the build goes away before it: the runtime first, then what it may have left.
struct Guard<'a>(Option<&'a Prepared>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(prepared) = self.0.take() {
            let _ = std::process::Command::new(&prepared.runtime)
                .arg("--root")
                .arg(&prepared.state)
                .args(["delete", "--force", &prepared.id])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// Runs the container to its end; each line that it prints goes to `line`.
pub(super) async fn run(prepared: &Prepared, line: &(dyn Fn(&str) + Sync)) -> Result<(), StepError> {
    let mut guard = Guard(Some(prepared));
    let mut child = Command::new(&prepared.runtime)
        .arg("--root")
        .arg(&prepared.state)
        .args(["run", "--bundle"])
        .arg(&prepared.bundle)
        .arg(&prepared.id)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A Ctrl-C of the terminal is for whoever builds; the container ends with the guard.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| StepError::RuntimeStart {
            path: prepared.runtime.clone(),
            source,
        })?;
    let tail = std::sync::Mutex::new(VecDeque::new());
    let keep = |text: &str| {
        line(text);
        let mut tail = tail.lock().expect("no holder panics");
        if tail.len() == KEPT_LINES {
            tail.pop_front();
        }
        tail.push_back(text.to_owned());
    };
    let stdout = child.stdout.take().expect("it is piped");
    let stderr = child.stderr.take().expect("it is piped");
    let failed = || StepError::file("read the output of", &prepared.runtime);
    let (out, err) = tokio::join!(lines(stdout, &keep), lines(stderr, &keep));
    out.and(err).map_err(failed())?;
    let status = child.wait().await.map_err(failed())?;
    if status.success() {
        guard.0 = None;
        return Ok(());
    }
    let output = tail.into_inner().expect("no holder panics").into();
    Err(match (status.code(), status.signal()) {
        (Some(code), _) => StepError::Run { code, output },
        (None, signal) => StepError::RunKilled {
            signal: signal.unwrap_or(0),
            output,
        },
    })
}

/// Cuts a stream into lines, whatever its bytes are.
async fn lines(mut stream: impl AsyncRead + Unpin, line: &(dyn Fn(&str) + Sync)) -> io::Result<()> {
    let mut pending: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 8 << 10];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        pending.extend_from_slice(&buffer[..length]);
        while let Some(end) = end_of_line(&pending) {
            let rest = pending.split_off(end);
            line(String::from_utf8_lossy(&pending).trim_end_matches(['\n', '\r']));
            pending = rest;
        }
    }
    if !pending.is_empty() {
        line(&String::from_utf8_lossy(&pending));
    }
    Ok(())
}

/// Length of the first line of `bytes` with its end, if that is known: at a line feed, or where it becomes too long.
fn end_of_line(bytes: &[u8]) -> Option<usize> {
    let feed = bytes
        .iter()
        .take(MAX_LINE)
        .position(|byte| *byte == b'\n')
        .map(|feed| feed + 1);
    feed.or((bytes.len() > MAX_LINE).then_some(MAX_LINE))
}

/// Takes from the upper directory the empty files and folders that the runtime made to mount on. `made` are their
/// paths, none of which the image had, children before parents; no link is followed on the way to one.
pub(super) fn remove_mount_points(upper: &Path, made: &[PathBuf]) -> Result<(), StepError> {
    for path in made {
        if !reached_by_directories(upper, path) {
            continue;
        }
        let target = upper.join(path);
        let removed = match fs::symlink_metadata(&target) {
            Ok(found) if found.is_dir() => fs::remove_dir(&target),
            Ok(found) if found.is_file() && found.len() == 0 => fs::remove_file(&target),
            _ => Ok(()),
        };
        match removed {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {}
            other => other.map_err(StepError::file("remove", target))?,
        }
    }
    Ok(())
}

fn reached_by_directories(upper: &Path, path: &Path) -> bool {
    let parents: Vec<&Path> = path.ancestors().skip(1).collect();
    parents
        .iter()
        .rev()
        .all(|parent| fs::symlink_metadata(upper.join(parent)).is_ok_and(|found| found.is_dir()))
}

/// Gives everything below `upper` no later time than `latest`, so that the directory is what its archive will say.
/// Answers whether there is anything in it.
pub(super) fn settle_times(upper: &Path, latest: i64, stop: &Stop) -> Result<bool, StepError> {
    let failed = || StepError::file("read", upper);
    let mut any = false;
    for entry in fs::read_dir(upper).map_err(failed())? {
        any = true;
        stop.check()?;
        let entry = entry.map_err(failed())?;
        if entry.file_type().map_err(failed())?.is_dir() {
            settle_times(&entry.path(), latest, stop)?;
        } else {
            settle(&entry.path(), latest)?;
        }
    }
    settle(upper, latest)?;
    Ok(any)
}

fn settle(path: &Path, latest: i64) -> Result<(), StepError> {
    let metadata = fs::symlink_metadata(path).map_err(StepError::file("read", path))?;
    set_time(path, metadata.mtime().min(latest)).map_err(StepError::file("set the time of", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_go_without_a_link_being_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("proc")).unwrap();
        let upper = tempfile::tempdir().unwrap();
        for folder in ["proc", "etc", "dev"] {
            fs::create_dir(upper.path().join(folder)).unwrap();
        }
        fs::write(upper.path().join("etc/resolv.conf"), "").unwrap();
        fs::write(upper.path().join("dev/kept"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), upper.path().join("run")).unwrap();
        let made = ["etc/resolv.conf", "etc", "proc", "dev", "run/proc"].map(PathBuf::from);
        remove_mount_points(upper.path(), &made).unwrap();
        assert!(!upper.path().join("etc").exists());
        assert!(!upper.path().join("proc").exists());
        assert!(
            upper.path().join("dev/kept").exists(),
            "a folder that holds something stays"
        );
        assert!(outside.path().join("proc").exists(), "what a link leads to is not ours");
    }

    #[tokio::test]
    async fn output_is_cut_into_lines() {
        let seen = std::sync::Mutex::new(Vec::new());
        let long = "x".repeat(MAX_LINE + 10);
        let text = format!("one\r\n\ntwo\u{e9}\n{long}\nlast");
        lines(text.as_bytes(), &|line| seen.lock().unwrap().push(line.to_owned()))
            .await
            .unwrap();
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen[..3], ["one", "", "two\u{e9}"]);
        assert_eq!((seen[3].len() + seen[4].len(), seen[5].as_str()), (long.len(), "last"));
    }
}
