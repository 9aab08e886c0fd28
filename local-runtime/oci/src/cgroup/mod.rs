//! Cgroups: a container's own in every hierarchy, its limits, its figures and its end.
//!
//! Read `layout.rs` for how a machine's hierarchies are found, `create.rs` for how a cgroup is made and limited, this
//! file for what is done with it. `setting.rs`, `v1.rs`, `v2.rs` and `devices.rs` turn the configuration into writes and
//! are pure but for the last step; `dir.rs` holds directories by descriptor, so that no path is walked twice.
//!
//! A process enters without waiting: the kernel moves others between cgroups only after a grace period of RCU (some
//! milliseconds), but lets a thread move itself at once, and starts a new one in place. So clone with
//! `CLONE_INTO_CGROUP` of [`Cgroup::unified`], and let the child call [`Entry::enter`] for the v1 hierarchies.

mod bpf;
mod create;
mod devices;
mod dir;
mod error;
mod layout;
mod limits;
mod setting;
mod stats;
mod v1;
mod v2;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;

pub use error::Error;
pub use layout::{CgroupPath, Hierarchy, Kind, Layout, Version};
pub use stats::{CpuStats, MemoryStats, PidsStats, Stats};

use dir::Dir;

/// One container's cgroup: a directory in each hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    layout: Layout,
    members: Vec<Member>,
}

/// The directory in one hierarchy.
#[derive(Debug)]
struct Member {
    /// Which of the layout's hierarchies.
    hierarchy: usize,
    /// The path below the hierarchy's mount.
    below: String,
    dir: Dir,
}

/// Descriptors through which a process enters the v1 hierarchies by itself. Nothing here allocates.
#[derive(Debug)]
pub struct Entry {
    files: Vec<OwnedFd>,
}

impl Entry {
    /// Moves the calling thread, which must be the only one of its process.
    pub fn enter(&self) -> io::Result<()> {
        for file in &self.files {
            rustix::io::write(file, b"0")?;
        }
        Ok(())
    }
}

impl Cgroup {
    /// Opens a cgroup that was made before, in those hierarchies where it still is.
    pub fn open(layout: &Layout, path: &CgroupPath) -> Result<Cgroup, Error> {
        let mut members = Vec::new();
        for (index, hierarchy) in layout.hierarchies.iter().enumerate() {
            let below = hierarchy.below(path);
            match hierarchy.root.open(&below) {
                Ok(dir) => members.push(Member {
                    hierarchy: index,
                    below,
                    dir,
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(Error::Open {
                        path: hierarchy.root.path_of(&below),
                        source,
                    });
                }
            }
        }
        if members.is_empty() {
            let first = &layout.hierarchies[0];
            let path = first.root.path_of(&first.below(path));
            return Err(Error::Open {
                path,
                source: io::ErrorKind::NotFound.into(),
            });
        }
        Ok(Cgroup {
            layout: layout.clone(),
            members,
        })
    }

    /// The directory in the unified hierarchy, for `CLONE_INTO_CGROUP`. None on a machine without one.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.find(Version::V2).map(|member| member.dir.as_fd())
    }

    /// Each hierarchy with the container's directory in it, and its path below the mount.
    pub fn directories(&self) -> impl Iterator<Item = (&Hierarchy, BorrowedFd<'_>, &str)> {
        self.members.iter().map(|member| {
            (
                &self.layout.hierarchies[member.hierarchy],
                member.dir.as_fd(),
                member.below.as_str(),
            )
        })
    }

    /// What a child needs to enter the v1 hierarchies; to be made before the clone.
    pub fn entry(&self) -> Result<Entry, Error> {
        let v1 = self.members.iter().filter(|member| self.version(member) == Version::V1);
        // A thread that writes 0 to `tasks` is spared the wait that `cgroup.procs` brings.
        let open = |member: &Member| {
            let file = member.dir.open_file("tasks", OFlags::WRONLY);
            file.map_err(|source| Error::Open {
                path: member.dir.path().join("tasks"),
                source,
            })
        };
        Ok(Entry {
            files: v1.map(open).collect::<Result<_, _>>()?,
        })
    }

    /// Moves a process into every hierarchy. Slow on v1: see [`Cgroup::entry`].
    pub fn attach(&self, pid: i32) -> Result<(), Error> {
        for member in &self.members {
            let answer = member.dir.write("cgroup.procs", &pid.to_string());
            answer.map_err(|source| Error::Attach {
                pid,
                path: member.dir.path().to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    /// The processes in this cgroup and those below it, as numbered in the caller's pid namespace, sorted. One that is
    /// in the v1 hierarchies alone, or in the unified one alone, counts too.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        let mut pids = Vec::new();
        for member in [Version::V1, Version::V2]
            .into_iter()
            .filter_map(|version| self.find(version))
        {
            collect_pids(&member.dir, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Usage and events; what cannot be read is None.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        if let Some((version, dir)) = self.controller("memory") {
            stats.memory = if version == Version::V1 {
                stats::memory_v1(dir)
            } else {
                stats::memory_v2(dir)
            };
        }
        match self.controller("cpu") {
            Some((Version::V1, dir)) => stats.cpu = stats::cpu_v1(dir),
            Some((Version::V2, dir)) => stats.cpu = stats::cpu_v2(dir),
            None => {}
        }
        if let Some((_, dir)) = self.controller("cpuacct") {
            stats.cpu.usage_us = stats::cpu_usage_v1(dir);
        }
        if let Some((_, dir)) = self.controller("pids") {
            stats.pids = stats::pids(dir);
        }
        stats
    }

    /// Stops all processes where they are, and waits until they stand.
    pub fn freeze(&self, limit: Duration) -> Result<(), Error> {
        match self.freezer() {
            Some((Version::V1, dir)) => freeze_v1(dir, limit),
            Some((Version::V2, dir)) => freeze_v2(dir, limit),
            None => Err(Error::NoController {
                field: "freeze".into(),
                controller: "freezer".into(),
            }),
        }
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<(), Error> {
        match self.freezer() {
            Some((Version::V1, dir)) => control("thaw", dir, "freezer.state", "THAWED"),
            Some((Version::V2, dir)) => control("thaw", dir, "cgroup.freeze", "0"),
            None => Ok(()),
        }
    }

    /// Whether all processes stand.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        match self.freezer() {
            Some((Version::V1, dir)) => Ok(read(dir, "freezer.state")?.trim() == "FROZEN"),
            Some((Version::V2, dir)) => Ok(read(dir, "cgroup.events")?.lines().any(|line| line == "frozen 1")),
            None => Ok(false),
        }
    }

    /// Sends a signal to all processes, held still meanwhile so that none is missed and no number is reused.
    pub fn signal_all(&self, signal: i32) -> Result<(), Error> {
        let was_frozen = self.is_frozen()?;
        let held = self.freeze(Duration::from_secs(1));
        for pid in self.pids()? {
            // SAFETY: kill(2) takes two numbers. A process that is gone needs no signal.
            unsafe { libc::kill(pid, signal) };
        }
        if was_frozen {
            Ok(())
        } else {
            self.thaw().and(held.or(Ok(())))
        }
    }

    /// Kills all processes, frozen ones included, and waits until they are gone.
    pub fn kill_all(&self, limit: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        let mut killed = self
            .find(Version::V2)
            .is_some_and(|member| member.dir.write("cgroup.kill", "1").is_ok());
        for pause in pauses() {
            if self.pids()?.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.too_slow("end", limit));
            }
            // The second time also where the kernel has killed: it knows only who is in the unified hierarchy.
            if !std::mem::take(&mut killed) {
                self.signal_all(libc::SIGKILL)?;
            }
            // On v1 a frozen process does not even die.
            self.thaw()?;
            std::thread::sleep(pause);
        }
        unreachable!("pauses never end")
    }

    /// Kills who is left, and deletes the cgroup with the folders above it that are left without use.
    pub fn end(self, limit: Duration) -> Result<(), Error> {
        // Mostly all have ended by themselves, and the kernel knows it at once.
        match self.remove(Duration::ZERO) {
            Err(Error::Delete { source, .. }) if source.raw_os_error() == Some(libc::EBUSY) => self.kill_all(limit)?,
            answer => return answer.map(|()| self.remove_parents()),
        }
        self.delete_with_parents(limit)
    }

    /// Deletes the cgroup and those that the container made below it. A cgroup whose last process has just ended
    /// stays busy for a moment, and until its parent has waited for it: retries until `limit`.
    pub fn delete(self, limit: Duration) -> Result<(), Error> {
        self.remove(limit)
    }

    /// Deletes the cgroup and then, in each hierarchy, the folders above it that are left without use; for cgroups
    /// whose parents are the caller's own, too.
    pub fn delete_with_parents(self, limit: Duration) -> Result<(), Error> {
        self.remove(limit).map(|()| self.remove_parents())
    }

    fn remove_parents(&self) {
        for member in &self.members {
            let root = &self.layout.hierarchies[member.hierarchy].root;
            let mut below = member.below.as_str();
            while let Some((parent, _)) = below.rsplit_once('/') {
                if root.remove(parent).is_err() {
                    break;
                }
                below = parent;
            }
        }
    }

    fn remove(&self, limit: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        for member in &self.members {
            let root = &self.layout.hierarchies[member.hierarchy].root;
            for pause in pauses() {
                let source = match remove_tree(root, &member.below) {
                    Ok(()) => break,
                    Err(source) => source,
                };
                if source.raw_os_error() != Some(libc::EBUSY) || Instant::now() > deadline {
                    return Err(Error::Delete {
                        path: root.path_of(&member.below),
                        source,
                    });
                }
                std::thread::sleep(pause);
            }
        }
        Ok(())
    }

    fn version(&self, member: &Member) -> Version {
        self.layout.hierarchies[member.hierarchy].version
    }

    fn find(&self, version: Version) -> Option<&Member> {
        self.members.iter().find(|member| self.version(member) == version)
    }

    /// The directory in which a controller's files are.
    fn controller(&self, controller: &str) -> Option<(Version, &Dir)> {
        let hierarchy = |member: &Member| &self.layout.hierarchies[member.hierarchy];
        let member = self.members.iter().find(|member| hierarchy(member).has(controller))?;
        Some((self.version(member), &member.dir))
    }

    /// The unified hierarchy freezes by itself, version 1 by a controller.
    fn freezer(&self) -> Option<(Version, &Dir)> {
        let unified = || self.find(Version::V2).map(|member| (Version::V2, &member.dir));
        self.controller("freezer").or_else(unified)
    }

    fn too_slow(&self, verb: &'static str, limit: Duration) -> Error {
        too_slow(verb, self.members[0].dir.path(), limit)
    }
}

fn freeze_v1(dir: &Dir, limit: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    for pause in pauses() {
        // A process that forks meanwhile can keep the state at FREEZING until it is asked again.
        control("freeze", dir, "freezer.state", "FROZEN")?;
        if read(dir, "freezer.state")?.trim() == "FROZEN" {
            return Ok(());
        }
        if Instant::now() > deadline {
            control("thaw", dir, "freezer.state", "THAWED")?;
            return Err(too_slow("freeze", dir.path(), limit));
        }
        std::thread::sleep(pause);
    }
    unreachable!("pauses never end")
}

fn freeze_v2(dir: &Dir, limit: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    let failed = |source| Error::Control {
        verb: "freeze",
        path: dir.path().to_owned(),
        source,
    };
    let events = dir.open_file("cgroup.events", OFlags::RDONLY).map_err(failed)?;
    control("freeze", dir, "cgroup.freeze", "1")?;
    loop {
        if read(dir, "cgroup.events")?.lines().any(|line| line == "frozen 1") {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            control("thaw", dir, "cgroup.freeze", "0")?;
            return Err(too_slow("freeze", dir.path(), limit));
        }
        // The kernel reports a change of the file as exceptional. The bound covers one between read and poll.
        let wait = left.min(Duration::from_millis(10)).try_into().expect("a short time");
        match rustix::event::poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
    }
}

fn control(verb: &'static str, dir: &Dir, file: &str, value: &str) -> Result<(), Error> {
    dir.write(file, value).map_err(|source| Error::Control {
        verb,
        path: dir.path().to_owned(),
        source,
    })
}

fn read(dir: &Dir, file: &str) -> Result<String, Error> {
    dir.read(file).map_err(|source| Error::Read {
        file: dir.path().join(file),
        source,
    })
}

fn collect_pids(dir: &Dir, pids: &mut Vec<i32>) -> Result<(), Error> {
    let text = match dir.read("cgroup.procs") {
        // Deleted while we look: nobody is left in it.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
        text => text.map_err(|source| Error::Read {
            file: dir.path().join("cgroup.procs"),
            source,
        })?,
    };
    // 0 stands for a process outside the caller's pid namespace.
    pids.extend(
        text.lines()
            .filter_map(|line| line.parse::<i32>().ok())
            .filter(|pid| *pid != 0),
    );
    let failed = |source| Error::Read {
        file: dir.path().to_owned(),
        source,
    };
    for child in dir.children().map_err(failed)? {
        match dir.open(&child) {
            Ok(child) => collect_pids(&child, pids)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(())
}

/// Removes a cgroup after those below it, success if there is none.
fn remove_tree(root: &Dir, below: &str) -> io::Result<()> {
    match root.remove(below) {
        // Busy with processes or with children, which look alike.
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
        answer => return answer,
    }
    let children = match root.open(below) {
        Ok(dir) => dir.children()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for child in children {
        remove_tree(root, &format!("{below}/{child}"))?;
    }
    root.remove(below)
}

fn too_slow(verb: &'static str, path: &Path, limit: Duration) -> Error {
    Error::TooSlow {
        verb,
        path: path.to_owned(),
        limit_ms: limit.as_millis(),
    }
}

/// Growing pauses between looks, from a tenth of a millisecond to twenty.
fn pauses() -> impl Iterator<Item = Duration> {
    let longest = Duration::from_millis(20);
    std::iter::successors(Some(Duration::from_micros(100)), move |pause| {
        Some((*pause * 2).min(longest))
    })
}
