//! The processes that belong to one home: supervisors, keepers, and what runs in containers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::home::Home;
use crate::wait::until;

/// A process, by number and by the name that the kernel shows of its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub name: String,
}

/// Those of a home that are there now.
pub fn of(home: &Home) -> Vec<Process> {
    let home = home.portolan_home();
    let home = home.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_string_lossy().parse().ok()?;
            let text = |file: &str| {
                let text = fs::read(entry.path().join(file)).ok()?;
                Some(String::from_utf8_lossy(&text).into_owned())
            };
            let name = text("comm")?.trim().to_string();
            // Ours are told which home is theirs; a container sees nothing else of it than what is mounted there.
            let (is_ours, file) = match name.starts_with("portolan-") {
                true => (true, "cmdline"),
                false => (text("cgroup")?.contains("portolan"), "mountinfo"),
            };
            let is_of_home = is_ours && text(file).is_some_and(|text| text.contains(home));
            is_of_home.then_some(Process { pid, name })
        })
        .collect()
}

/// Supervisor, keeper and containers at once, as when a machine goes down.
pub fn kill_all_of(home: &Home) {
    let found: Vec<u32> = of(home).into_iter().map(|process| process.pid).collect();
    assert!(found.len() >= 3, "supervisor, keeper and a container: {found:?}");
    // All stop before any ends, so that none starts another.
    kill("STOP", &found);
    kill("KILL", &found);
    until("they are gone", Duration::from_secs(20), || {
        let is_gone = |pid: &u32| !Path::new(&format!("/proc/{pid}/exe")).exists();
        found.iter().all(is_gone).then_some(())
    });
}

/// Those that have ended meanwhile do not matter.
pub fn kill(signal: &str, pids: &[u32]) {
    let pids = pids.iter().map(ToString::to_string);
    let mut command = Command::new("kill");
    _ = command.arg(format!("-{signal}")).args(pids).output().unwrap();
}
