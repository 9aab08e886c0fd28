//! What this machine can and cannot do, told from files of the kernel's. Of an unprivileged user more is tried: what the
//! kernel shows is not all that decides there.

mod network;
mod trial;

use std::fs;
use std::path::Path;

use portolan_supervisor::delegation::limits_are_kept;
use serde::Serialize;

/// One thing that containers need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub subject: &'static str,
    pub verdict: Verdict,
    /// What was seen.
    pub detail: String,
    /// What to do about it, unless it is fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Fine,
    /// Works, with less than it could.
    Limited,
    /// Nothing runs before this is mended.
    Missing,
}

/// What this process may do on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privilege {
    Root,
    /// It is in a user namespace: how many ids that has besides 0, and why it has none if there are none.
    Namespace {
        further: u64,
        lacking: Option<String>,
    },
    /// An unprivileged user who may not make a user namespace, and why.
    None(String),
}

/// Looks at everything. `data` is the folder in which images and volumes will lie.
pub fn examine(data: &Path, privilege: &Privilege) -> Vec<Finding> {
    vec![
        user(privilege),
        kernel(),
        namespaces(),
        network::finding(),
        network::way_out(privilege),
        overlay(data, privilege),
        cgroups(),
        seccomp(),
        space(data),
    ]
}

fn finding(subject: &'static str, verdict: Verdict, detail: impl Into<String>, remedy: &'static str) -> Finding {
    Finding {
        subject,
        verdict,
        detail: detail.into(),
        remedy: (verdict != Verdict::Fine).then_some(remedy),
    }
}

fn user(privilege: &Privilege) -> Finding {
    const RANGES: &str = "install `newuidmap` (Debian's package uidmap), and give the user ids: \
                          `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`";
    const NAMESPACES: &str = "allow user namespaces to this user (sysctl user.max_user_namespaces, \
                              kernel.apparmor_restrict_unprivileged_userns), or run portolan as root";
    let (verdict, detail) = match privilege {
        Privilege::Root => (Verdict::Fine, "root".into()),
        Privilege::Namespace { further: 0, lacking } => {
            let why = lacking.as_deref().unwrap_or("what runs was begun so");
            (
                Verdict::Limited,
                format!("root in a user namespace with one id, so no other users in containers: {why}"),
            )
        }
        Privilege::Namespace { further, .. } => (
            Verdict::Fine,
            format!("root in a user namespace with {further} further ids by newuidmap"),
        ),
        Privilege::None(why) => return finding("user", Verdict::Missing, why.clone(), NAMESPACES),
    };
    finding("user", verdict, detail, RANGES)
}

/// 5.14 has everything that the runtime calls: clone3, openat2, the mount API, `mount_setattr`, pidfd.
fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let verdict = if version >= (5, 14) {
        Verdict::Fine
    } else {
        Verdict::Missing
    };
    finding("kernel", verdict, release, "a kernel of 5.14 or newer is needed")
}

fn namespaces() -> Finding {
    let wanted = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let absent: Vec<&str> = wanted
        .into_iter()
        .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
        .collect();
    let verdict = if absent.is_empty() {
        Verdict::Fine
    } else {
        Verdict::Missing
    };
    let detail = if absent.is_empty() {
        wanted.join(", ")
    } else {
        format!("without {}", absent.join(", "))
    };
    finding(
        "namespaces",
        verdict,
        detail,
        "enable them in the kernel (CONFIG_NAMESPACES)",
    )
}

fn overlay(data: &Path, privilege: &Privilege) -> Finding {
    const REMEDY: &str = "load the kernel's module `overlay`, or put the data folder (XDG_DATA_HOME) on ext4 or xfs";
    let known = read("/proc/filesystems")
        .lines()
        .any(|line| line.split_whitespace().last() == Some("overlay"));
    let (verdict, detail) = match file_system_of(data) {
        _ if !known => (Verdict::Missing, "the kernel does not know overlayfs".to_string()),
        Some(kind) if kind == "overlay" => (
            Verdict::Missing,
            format!("{} lies on an overlay itself", data.display()),
        ),
        kind => match privilege {
            Privilege::Namespace { .. } => trial::overlay(data),
            _ => Ok(()),
        }
        .map(|()| {
            (
                Verdict::Fine,
                format!("over {}", kind.unwrap_or_else(|| "unknown".into())),
            )
        })
        .unwrap_or_else(|error| (Verdict::Missing, format!("cannot be mounted by this user: {error}"))),
    };
    finding("overlay", verdict, detail, REMEDY)
}

/// Limits need the controllers memory, cpu and pids, in either version of cgroups.
fn cgroups() -> Finding {
    let wanted = ["memory", "cpu", "pids"];
    let memberships = read("/proc/self/cgroup");
    let first = controllers_of_v1(&memberships);
    let second = controllers_of_v2();
    let known = |name: &&str| first.contains(name) || second.split_whitespace().any(|controller| controller == *name);
    let absent: Vec<&str> = wanted.into_iter().filter(|name| !known(name)).collect();
    let version = if first.is_empty() { "v2" } else { "v1" };
    if !limits_are_kept() {
        let detail = format!(
            "{version}: this user may make none, so no limit of {} is kept",
            wanted.join(", ")
        );
        return finding(
            "cgroups",
            Verdict::Limited,
            detail,
            "run portolan as root where limits matter",
        );
    }
    let (verdict, detail) = match absent.is_empty() {
        true => (Verdict::Fine, format!("{version}: {}", wanted.join(", "))),
        false => (Verdict::Limited, format!("without {}", absent.join(", "))),
    };
    finding(
        "cgroups",
        verdict,
        detail,
        "limits of these kinds are not kept: enable the controllers at the kernel's command line",
    )
}

/// Lines of /proc/self/cgroup (cgroups(7)) are `ID:CONTROLLERS:PATH`; the one of version 2 names no controller.
fn controllers_of_v1(memberships: &str) -> Vec<&str> {
    let named = memberships.lines().filter_map(|line| line.split(':').nth(1));
    named
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty() && !name.starts_with("name="))
        .collect()
}

/// Where the unified hierarchy usually is: alone, or beside those of version 1.
fn controllers_of_v2() -> String {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let controllers = roots.map(|root| read(&format!("{root}/cgroup.controllers")));
    controllers.join(" ")
}

fn seccomp() -> Finding {
    let known = status_field("Seccomp").is_some();
    let verdict = if known { Verdict::Fine } else { Verdict::Missing };
    finding(
        "seccomp",
        verdict,
        if known { "filters" } else { "unknown to the kernel" },
        "enable CONFIG_SECCOMP_FILTER in the kernel",
    )
}

const LITTLE_SPACE: u64 = 1 << 30;

fn space(data: &Path) -> Finding {
    let Some(free) = free_bytes(data) else {
        return finding(
            "space",
            Verdict::Limited,
            format!("{} cannot be asked", data.display()),
            "choose another XDG_DATA_HOME",
        );
    };
    let verdict = if free >= LITTLE_SPACE {
        Verdict::Fine
    } else {
        Verdict::Limited
    };
    let detail = format!("{} MiB free for {}", free >> 20, data.display());
    finding(
        "space",
        verdict,
        detail,
        "make room, or remove images: `portolan image ls`, `portolan image rm`",
    )
}

/// Names of the file systems that people put their data on, by what statfs(2) says.
const FILE_SYSTEMS: &[(i64, &str)] = &[
    (0x794c_7630, "overlay"),
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x2fc1_2fc1, "zfs"),
    (0x6969, "nfs"),
];

fn file_system_of(path: &Path) -> Option<String> {
    let stat = rustix::fs::statfs(existing(path)?.as_path()).ok()?;
    let known = FILE_SYSTEMS.iter().find(|(magic, _)| *magic == stat.f_type);
    Some(known.map_or_else(
        || format!("a file system of type {:#x}", stat.f_type),
        |(_, name)| name.to_string(),
    ))
}

fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(existing(path)?.as_path()).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

/// The path itself, or the nearest folder above it that is there.
fn existing(path: &Path) -> Option<std::path::PathBuf> {
    path.ancestors()
        .find(|path| path.exists())
        .and_then(|path| path.canonicalize().ok())
}

fn status_field(name: &str) -> Option<String> {
    let status = read("/proc/self/status");
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(|value| value.trim().to_string())
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim_end().to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_looked_at_and_what_is_not_fine_has_a_remedy() {
        let findings = examine(Path::new("/nonexistent/folder"), &Privilege::None("refused".into()));
        assert_eq!(findings.len(), 9);
        for finding in findings {
            assert_eq!(
                finding.remedy.is_some(),
                finding.verdict != Verdict::Fine,
                "{finding:?}"
            );
            assert!(!finding.detail.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn controllers_of_version_1_are_read_from_memberships() {
        let hybrid = "9:name=systemd:/\n4:memory:/a\n2:cpu,cpuacct:/\n0::/\n";
        assert_eq!(controllers_of_v1(hybrid), ["memory", "cpu", "cpuacct"]);
        assert!(
            controllers_of_v1("0::/user.slice").is_empty(),
            "the unified hierarchy alone"
        );
    }
}
