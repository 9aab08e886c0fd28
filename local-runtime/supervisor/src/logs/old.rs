//! What of the logs goes: files too many, too large together, too old, and those of pods that are long gone.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{numbered, parse_file_name};
use crate::spec::LogSpec;

/// Logs of so many pods that are gone are kept per workload.
const GONE_PODS_KEPT: usize = 5;

/// Removes those files of one log, from number `first` on, that are not to be kept.
pub(super) fn remove_surplus(log: &Path, first: u32, keep: &LogSpec, now: SystemTime) {
    let most = keep.max_size_bytes.saturating_mul(keep.max_files.into());
    let mut bytes = 0;
    for number in 0..LogSpec::MOST_FILES {
        let path = numbered(log, number);
        let Ok(metadata) = fs::metadata(&path) else { continue };
        bytes += metadata.len();
        let goes = number >= keep.max_files || bytes > most || is_too_old(&metadata, keep, now);
        if number >= first && goes {
            // One that stays is tried again the next time.
            _ = fs::remove_file(&path);
        }
    }
}

/// Its last line is so old that its first one, older by the time for which a file is written, is as old as a line may be.
fn is_too_old(metadata: &Metadata, keep: &LogSpec, now: SystemTime) -> bool {
    let (Some(age), Some(written_for)) = (keep.max_age, keep.file_age()) else {
        return false;
    };
    let last = metadata.modified().unwrap_or(now);
    now.duration_since(last).unwrap_or(Duration::ZERO) >= age.saturating_sub(written_for)
}

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Looks after its log itself.
    Running,
    /// Is part of a pod that is there, and may run again.
    Ended,
    /// Went with its pod.
    Gone,
}

/// Removes the logs of all but the last few pods that are gone, and what is not to be kept where nobody writes.
pub fn prune(folder: &Path, keep: &LogSpec, writer: impl Fn(u64, &str) -> Writer) {
    let logs: BTreeSet<(u64, String)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| parse_file_name(&name).map(|(pod, container)| (pod, container.to_string())))
        .collect();
    let gone = logs
        .iter()
        .filter(|(pod, container)| writer(*pod, container) == Writer::Gone);
    let gone: BTreeSet<u64> = gone.map(|(pod, _)| *pod).collect();
    let forgotten: BTreeSet<u64> = gone.into_iter().rev().skip(GONE_PODS_KEPT).collect();
    let nothing = LogSpec { max_files: 0, ..*keep };
    for (pod, container) in &logs {
        let keep = if forgotten.contains(pod) { &nothing } else { keep };
        if writer(*pod, container) != Writer::Running {
            let log = folder.join(format!("{pod}.{container}.log"));
            remove_surplus(&log, 0, keep, SystemTime::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn left(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_logs_of_the_last_pods_that_are_gone_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for pod in 1..=9 {
            fs::write(folder.path().join(format!("{pod}.m.log")), "").unwrap();
        }
        fs::write(folder.path().join("2.m.log.1"), "").unwrap();
        let running = |pod, _: &str| if pod == 1 { Writer::Running } else { Writer::Gone };
        prune(folder.path(), &LogSpec::default(), running);
        let expected = ["1.m.log", "5.m.log", "6.m.log", "7.m.log", "8.m.log", "9.m.log"];
        assert_eq!(left(folder.path()), expected, "1 still runs, 5 to 9 are the last");
    }

    #[test]
    fn what_an_ended_container_wrote_grows_old_too() {
        let folder = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3600);
        for name in ["1.ended.log", "1.runs.log", "2.gone.log"] {
            fs::write(folder.path().join(name), "x").unwrap();
            let old = File::options().write(true).open(folder.path().join(name)).unwrap();
            old.set_modified(SystemTime::now() - hour).unwrap();
        }
        let keep = LogSpec {
            max_age: Some(hour),
            ..LogSpec::default()
        };
        prune(folder.path(), &keep, |pod, container| match (pod, container) {
            (1, "runs") => Writer::Running,
            (1, _) => Writer::Ended,
            _ => Writer::Gone,
        });
        assert_eq!(left(folder.path()), ["1.runs.log"]);
    }

    #[test]
    fn files_go_by_number_size_and_age() {
        let default = LogSpec::default();
        let hour = Duration::from_secs(3600);
        let cases = [
            ("within every bound", default, vec!["1.m.log", "1.m.log.1", "1.m.log.2"]),
            (
                "two are kept",
                LogSpec {
                    max_files: 2,
                    ..default
                },
                vec!["1.m.log", "1.m.log.1"],
            ),
            (
                "larger files of before count as what they are",
                LogSpec {
                    max_size_bytes: 90,
                    ..default
                },
                vec!["1.m.log", "1.m.log.1"],
            ),
            (
                "its last line is an hour old, its first one may be half an hour older",
                LogSpec {
                    max_age: Some(hour * 3 / 2),
                    ..default
                },
                vec!["1.m.log", "1.m.log.1"],
            ),
            (
                "young enough",
                LogSpec {
                    max_age: Some(hour * 2),
                    ..default
                },
                vec!["1.m.log", "1.m.log.1", "1.m.log.2"],
            ),
        ];
        for (reason, keep, expected) in cases {
            let folder = tempfile::tempdir().unwrap();
            let log = folder.path().join("1.m.log");
            for number in 0..3 {
                fs::write(numbered(&log, number), [b'x'; 100]).unwrap();
            }
            let old = File::options().write(true).open(numbered(&log, 2)).unwrap();
            old.set_modified(SystemTime::now() - hour).unwrap();
            remove_surplus(&log, 1, &keep, SystemTime::now());
            assert_eq!(left(folder.path()), expected, "{reason}");
        }
    }
}
