//! What an app has on the machine, by looking: processes, cgroups, links, mounts, files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use nix::sys::signal::Signal;

/// Everything that bears the app's name or was seen with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    pub processes: BTreeSet<u32>,
    pub cgroups: Vec<PathBuf>,
    pub links: BTreeSet<String>,
    pub mounts: Vec<String>,
    pub files: Vec<PathBuf>,
}

impl Traces {
    /// `folder`: of the app's cgroups; `bridge`: its links; `files`: what must be gone at the end.
    pub fn of(folder: &str, bridge: &str, files: &[PathBuf]) -> Traces {
        let cgroups = cgroups(folder);
        Traces {
            processes: cgroups.iter().flat_map(|path| processes(path)).collect(),
            links: links(bridge),
            mounts: mounts(files),
            files: files.iter().filter(|path| path.exists()).cloned().collect(),
            cgroups,
        }
    }

    /// More than files, which go with their folder.
    pub fn is_on_the_machine(&self) -> bool {
        !(self.processes.is_empty() && self.cgroups.is_empty() && self.links.is_empty())
    }

    /// Kills the processes, then removes what they leave. What is still busy stays for the next try.
    pub fn remove_by_force(&self) {
        // None of them may start another one of them meanwhile.
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            self.processes.iter().for_each(|pid| try_signal(*pid, signal));
        }
        self.cgroups.iter().rev().for_each(|path| _ = fs::remove_dir(path));
        for name in &self.links {
            _ = Command::new("ip")
                .args(["link", "delete", name])
                .stderr(Stdio::null())
                .status();
        }
    }

    /// What was there once and is there still.
    pub fn still_there(&self) -> Traces {
        Traces {
            processes: self.processes.iter().copied().filter(|pid| is_alive(*pid)).collect(),
            cgroups: self.cgroups.iter().filter(|path| path.exists()).cloned().collect(),
            links: self.links.iter().filter(|name| link(name).exists()).cloned().collect(),
            mounts: mounts(&self.files),
            files: self.files.iter().filter(|path| path.exists()).cloned().collect(),
        }
    }
}

/// One that only waits to be reaped, by whoever is init here, is not.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|text| !text.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

pub fn kill(pid: u32) {
    signal(pid, Signal::SIGKILL);
}

/// Kills it and waits until it has let go of its locks and children, which on a busy machine takes a while.
pub fn kill_and_wait(pid: u32) {
    kill(pid);
    while is_alive(pid) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

pub fn signal(pid: u32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).unwrap();
}

/// What may be gone already.
fn try_signal(pid: u32, signal: Signal) {
    _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal);
}

/// Every process that was started with this folder, or one in it, among its arguments.
pub fn processes_about(folder: &Path) -> Vec<u32> {
    let about = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments
            .split(|byte| *byte == 0)
            .any(|argument| Path::new(OsStr::from_bytes(argument)).starts_with(folder))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(about).collect()
}

/// Children of a process, by the first 15 characters of their program's name.
pub fn children(parent: u32, name: &str) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
    let named =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == &name[..15]);
    pids.filter(named).collect()
}

/// In every hierarchy: the app's own folder, and those of its containers.
pub fn cgroups(folder: &str) -> Vec<PathBuf> {
    let hierarchies = folders_in(Path::new("/sys/fs/cgroup"))
        .into_iter()
        .chain(["/sys/fs/cgroup".into()]);
    let app = |hierarchy: PathBuf| hierarchy.join("portolan").join(folder);
    let found: Vec<PathBuf> = hierarchies.map(app).filter(|path| path.is_dir()).collect();
    let inside: Vec<PathBuf> = found.iter().flat_map(|path| folders_in(path)).collect();
    found.into_iter().chain(inside).collect()
}

/// None where the folder itself has gone meanwhile.
fn folders_in(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn processes(cgroup: &Path) -> Vec<u32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn links(bridge: &str) -> BTreeSet<String> {
    let ports = fs::read_dir(link(bridge).join("brif"))
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let names = ports
        .filter_map(|entry| entry.file_name().into_string().ok())
        .chain([bridge.to_string()]);
    names.filter(|name| !name.is_empty() && link(name).exists()).collect()
}

fn link(name: &str) -> PathBuf {
    PathBuf::from("/sys/class/net").join(name)
}

fn mounts(files: &[PathBuf]) -> Vec<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = |line: &&str| files.iter().any(|path| line.contains(path.to_str().unwrap()));
    all.lines().filter(ours).map(String::from).collect()
}
