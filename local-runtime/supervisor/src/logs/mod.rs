//! What containers write: from their fifos into files with a bound, and from there to whoever asks.
//!
//! A container's stdout and stderr are two fifos. It holds them open for reading and writing, so a supervisor that is
//! gone neither breaks its output nor loses it: up to 64 KiB a fifo wait in the kernel, and the next supervisor reads on
//! ([`file`] says how that loses and doubles nothing).
//! A file has one line per line: `<unix milliseconds> <o|e> <text>`. At [`MAX_FILE_BYTES`] it becomes `.log.1`, in place of
//! the one before it.

mod collect;
mod fifo;
mod file;
mod read;

use std::fs;
use std::path::{Path, PathBuf};

use crate::protocol::{LogLine, Stream};

pub use collect::Collector;
pub use read::{LogReader, last_lines};

/// Twice this much is kept for a container.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// Longer lines are cut into several.
pub const MAX_LINE_BYTES: usize = 32 << 10;
/// Logs of so many pods that are gone are kept per workload.
const GONE_PODS_KEPT: usize = 5;

fn rotated(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// `7.main.log`, `7.main.log.1` -> (7, main).
fn parse_file_name(name: &str) -> Option<(u64, &str)> {
    let stem = name.strip_suffix(".log").or_else(|| name.strip_suffix(".log.1"))?;
    let (pod, container) = stem.split_once('.')?;
    Some((pod.parse().ok()?, container))
}

fn parse_line(line: &[u8], pod: u64, container: &str) -> Option<LogLine> {
    let mut parts = line.splitn(3, |b| *b == b' ');
    let time_unix_ms = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let stream = match parts.next()? {
        b"o" => Stream::Stdout,
        b"e" => Stream::Stderr,
        _ => return None,
    };
    let text = String::from_utf8_lossy(parts.next()?).into_owned();
    Some(LogLine {
        time_unix_ms,
        replica: pod,
        container: container.into(),
        stream,
        text,
    })
}

/// Removes the logs of all but the last few pods that are gone.
pub fn prune(folder: &Path, is_there: impl Fn(u64) -> bool) {
    let names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let mut gone: Vec<u64> = names
        .iter()
        .filter_map(|n| parse_file_name(n))
        .map(|(pod, _)| pod)
        .collect();
    gone.retain(|pod| !is_there(*pod));
    gone.sort_unstable();
    gone.dedup();
    gone.truncate(gone.len().saturating_sub(GONE_PODS_KEPT));
    for name in names
        .iter()
        .filter(|n| parse_file_name(n).is_some_and(|(pod, _)| gone.contains(&pod)))
    {
        // A log that stays is no harm, and is tried again after the next pod.
        let _ = fs::remove_file(folder.join(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_names_are_read_back() {
        assert_eq!(parse_file_name("12.main.log"), Some((12, "main")));
        assert_eq!(parse_file_name("12.main.log.1"), Some((12, "main")));
        assert_eq!(parse_file_name("state.json"), None);
        let line = parse_line(b"1700000000000 e two  words", 3, "main").unwrap();
        assert_eq!((line.stream, line.text.as_str()), (Stream::Stderr, "two  words"));
        assert_eq!(parse_line(b"torn", 3, "main"), None);
        assert_eq!(parse_line(b"1 o \xff", 3, "main").unwrap().text, "\u{fffd}");
    }

    #[test]
    fn the_logs_of_the_last_pods_that_are_gone_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for pod in 1..=9 {
            fs::write(folder.path().join(format!("{pod}.main.log")), "").unwrap();
        }
        prune(folder.path(), |pod| pod == 1);
        let left: Vec<bool> = (1..=9)
            .map(|pod| folder.path().join(format!("{pod}.main.log")).exists())
            .collect();
        assert_eq!(
            left,
            [true, false, false, false, true, true, true, true, true],
            "1 still runs, 5 to 9 are the last"
        );
    }
}
