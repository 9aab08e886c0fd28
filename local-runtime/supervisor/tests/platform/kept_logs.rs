//! How much of what containers write is kept.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use portolan_supervisor::spec::{Kind, LogSpec};

use crate::app::{App, container, job, service};
use crate::machine::{Signal, kill, signal};

/// Lines of about a megabyte, far more than is kept.
const LINES: &str = "40000";

fn small(max_files: u32) -> LogSpec {
    LogSpec {
        max_size_bytes: LogSpec::SMALLEST_FILE_BYTES,
        max_files,
        max_age: None,
    }
}

/// Bytes of each file of a workload's logs.
fn files(app: &App, workload: &str) -> Vec<u64> {
    let folder: PathBuf = app.launch.state_dir.join("logs").join(workload);
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
        .collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_container_that_writes_without_end_takes_no_more_than_its_files() {
    let test = "a_container_that_writes_without_end_takes_no_more_than_its_files";
    let Some(app) = App::new(test).await else { return };
    let mut spec = job("flood", "1", &["lines", LINES]);
    spec.logs = small(3);
    app.put_job(spec).await;
    app.ready(Kind::Job, "flood").await;
    let sizes = files(&app, "job-flood");
    assert_eq!(sizes.len(), 3);
    assert!(
        sizes.iter().all(|size| *size <= LogSpec::SMALLEST_FILE_BYTES),
        "{sizes:?}"
    );
    let lines = app.logs(Kind::Job, "flood").await;
    let first = LINES.parse::<usize>().unwrap() + 1 - lines.len();
    let expected = (first..).map(|number| format!("line {number}"));
    assert!(
        lines.iter().cloned().eq(expected.take(lines.len())),
        "the last lines, each once, in their order"
    );
    assert!(lines.len() > 5000, "and as many as there is room for: {}", lines.len());
    app.delete_everything().await;
}

#[tokio::test]
async fn what_is_kept_changes_under_a_running_container() {
    let Some(app) = App::new("what_is_kept_changes_under_a_running_container").await else {
        return;
    };
    let mut spec = service("web", 1, "hello");
    spec.pod.init = vec![container("flood", &["lines", LINES])];
    spec.logs = small(4);
    app.put_service(spec.clone()).await;
    app.ready(Kind::Service, "web").await;
    let (pids, before) = (app.pids("web").await, app.service("web").await.replicas[0].id);
    assert_eq!(
        files(&app, "service-web").len(),
        5,
        "four of the init container, one of the other"
    );

    // Old enough when the rule comes: logs of ended containers are looked at only then, and each minute.
    tokio::time::sleep(Duration::from_secs(2)).await;
    spec.logs.max_age = Some(Duration::from_secs(2));
    app.put_service(spec).await;
    until("everything is too old at last", || {
        files(&app, "service-web").iter().sum::<u64>() == 0
    })
    .await;
    assert_eq!(app.pids("web").await, pids, "no container is replaced");
    assert_eq!(app.service("web").await.replicas[0].id, before);
    app.delete_everything().await;
}

/// A small file system of its own for a folder.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(folder: PathBuf) -> SmallDisk {
        fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "none"])
            .arg(&folder)
            .status();
        assert!(mounted.unwrap().success(), "no tmpfs at {}", folder.display());
        SmallDisk(folder)
    }

    /// Until nothing more fits.
    fn fill(&self) {
        let mut filler = fs::File::create(self.0.join("filler")).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn lines_lost_on_a_full_disk_are_counted_in_their_place() {
    let Some(app) = App::new("lines_lost_on_a_full_disk_are_counted_in_their_place").await else {
        return;
    };
    let disk = SmallDisk::at(app.launch.state_dir.join("logs"));
    let mut spec = service("web", 1, "hello");
    spec.pod.sidecars.push(container("counter", &["count"]));
    app.put_service(spec).await;
    app.ready(Kind::Service, "web").await;
    let before = app.pids("web").await;
    disk.fill();
    tokio::time::sleep(Duration::from_millis(700)).await;
    kill(app.client().await.welcome().pid);
    tokio::time::sleep(Duration::from_millis(700)).await;
    // A container that is silent when there is room again does not put it off.
    let counter = before.iter().copied().find(|pid| is_counter(*pid)).unwrap();
    signal(counter, Signal::SIGSTOP);
    disk.free();
    let freed = Instant::now();
    while losses(&app.logs(Kind::Service, "web").await).is_empty() {
        assert!(freed.elapsed() < Duration::from_secs(3), "{}", app.supervisor_log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signal(counter, Signal::SIGCONT);
    tokio::time::sleep(Duration::from_millis(300)).await;

    let lines = app.logs(Kind::Service, "web").await;
    let lost = losses(&lines);
    println!("{lost:?} of {} lines", lines.len());
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    let missing = numbers.windows(2).map(|two| two[1] - two[0] - 1).filter(|gap| *gap > 0);
    assert_eq!(
        missing.collect::<Vec<_>>(),
        lost,
        "as many as are said, each gap by one line"
    );
    assert!(lost.len() == 1 && lost[0] > 100, "{lost:?}");
    assert_eq!(app.pids("web").await, before, "no container noticed");
    let words = app.supervisor_log();
    assert!(words.matches("cannot write a log").count() <= 2, "{words}");
    drop(disk);
    app.delete_everything().await;
}

fn is_counter(pid: u32) -> bool {
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split('\0').any(|word| word == "count")
}

/// How many lines each word about lost ones counts.
fn losses(lines: &[String]) -> Vec<u64> {
    let told = lines.iter().filter_map(|line| line.strip_prefix("portolan: here "));
    let counts = told.map(|rest| rest.split(' ').next().and_then(|count| count.parse().ok()));
    counts.map(|count| count.expect("a number of lines")).collect()
}
