//! A picture of the machine: what an app may leave behind. Taken before and after, and compared.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything that a `delete` must take away again, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture(BTreeSet<String>);

impl Picture {
    /// As the machine is now. Files below `home` count, but for those that `kept` says may stay.
    pub fn take(home: &Path, kept: impl Fn(&Path) -> bool) -> Self {
        let mut lines = BTreeSet::new();
        lines.extend(processes().into_iter().map(|process| format!("process {process}")));
        lines.extend(mounts().into_iter().map(|mount| format!("mount {mount}")));
        lines.extend(cgroups().into_iter().map(|path| format!("cgroup {}", path.display())));
        lines.extend(
            names_in("/sys/class/net")
                .into_iter()
                .map(|link| format!("link {link}")),
        );
        lines.extend(forwarding().into_iter().map(|link| format!("forwards {link}")));
        lines.extend(names_in("/run/netns").into_iter().map(|name| format!("netns {name}")));
        lines.extend(nft_rules().into_iter().map(|rule| format!("nft {rule}")));
        let files = files_below(home).into_iter().filter(|path| !kept(path));
        lines.extend(files.map(|path| format!("file {}", path.display())));
        Self(lines)
    }

    /// What is here and was not there.
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

/// Processes that are ours by their program, and those that run in a cgroup of ours; without their numbers' help a
/// stray one of a container would look like anybody's.
fn processes() -> Vec<String> {
    names_in("/proc")
        .into_iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|pid| {
            let folder = Path::new("/proc").join(&pid);
            let name = fs::read_to_string(folder.join("comm")).ok()?.trim().to_string();
            let groups = fs::read_to_string(folder.join("cgroup")).ok()?;
            (name.starts_with("portolan-") || groups.contains("portolan")).then(|| format!("{pid} {name}"))
        })
        .collect()
}

fn mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let fields = |line: &str| line.split(' ').nth(4).map(String::from);
    text.lines()
        .filter_map(fields)
        .filter(|path| path.contains("portolan"))
        .collect()
}

/// Those named after us, and all below them.
fn cgroups() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.path().to_string_lossy().contains("portolan") {
                found.push(entry.path());
            }
            open.push(entry.path());
        }
    }
    found
}

/// Links by which the machine forwards.
fn forwarding() -> Vec<String> {
    let forwards = |link: &String| {
        let switch = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{link}/forwarding"));
        switch.is_ok_and(|text| text.trim() == "1")
    };
    names_in("/sys/class/net").into_iter().filter(forwards).collect()
}

fn nft_rules() -> Vec<String> {
    // Where there is no nft nobody can have made a rule with it; the kernel's own count is what rules would show in.
    let Ok(output) = Command::new("nft").args(["list", "ruleset"]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(String::from)
        .collect()
}

pub(crate) fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Every path below `folder`, relative to it.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(current) = open.pop() {
        for entry in fs::read_dir(&current).into_iter().flatten().flatten() {
            found.push(entry.path().strip_prefix(folder).expect("found below it").to_path_buf());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    found
}
