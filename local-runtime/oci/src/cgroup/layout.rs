//! How this machine lays out cgroups: v1 hierarchies, the unified one, or both (hybrid).
//!
//! `/proc/self/cgroup` says which hierarchies there are and where in each this process is, `/proc/self/mountinfo`
//! where they are mounted. Nothing is assumed about `/sys/fs/cgroup`.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::dir::Dir;
use super::error::Error;
use crate::sys::read_text;

/// The cgroup hierarchies that are mounted, each held by a descriptor.
#[derive(Debug, Clone)]
pub struct Layout {
    pub(super) hierarchies: Arc<[Hierarchy]>,
}

/// One hierarchy: a v1 one, or the unified one.
#[derive(Debug)]
pub struct Hierarchy {
    pub(super) version: Version,
    controllers: Vec<String>,
    pub(super) root: Dir,
    /// Where this process is, relative to the mount.
    own: String,
}

/// The interface of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// What a machine offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Hierarchies of version 1 only.
    V1,
    /// Hierarchies of version 1 and the unified one beside them.
    Hybrid,
    /// The unified hierarchy only.
    V2,
}

/// A container's place, the same in every hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPath {
    absolute: bool,
    components: Vec<String>,
}

impl Layout {
    /// Reads the layout as this process sees it.
    pub fn detect() -> Result<Layout, Error> {
        let read = |file| {
            let text = File::open(file).and_then(read_text);
            text.map_err(|source| Error::Detect { source })
        };
        Layout::of(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)
    }

    fn of(cgroups: &str, mountinfo: &str) -> Result<Layout, Error> {
        let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
        let mut hierarchies = Vec::new();
        for membership in cgroups.lines().filter_map(Membership::parse) {
            // Where a hierarchy is mounted more than once, the mount that shows most of it and can be seen.
            let mut candidates: Vec<_> = mounts.iter().filter(|mount| mount.shows(&membership)).collect();
            candidates.sort_by_key(|mount| mount.root.len());
            let opened = candidates
                .into_iter()
                .find_map(|mount| Hierarchy::open(mount, &membership));
            hierarchies.extend(opened);
        }
        if hierarchies.is_empty() {
            Err(Error::NotMounted)
        } else {
            Ok(Layout {
                hierarchies: hierarchies.into(),
            })
        }
    }

    pub fn kind(&self) -> Kind {
        let has = |version| self.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
        match (has(Version::V1), has(Version::V2)) {
            (true, true) => Kind::Hybrid,
            (true, false) => Kind::V1,
            (false, _) => Kind::V2,
        }
    }

    /// The hierarchies, v1 ones in the kernel's order and the unified one last.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    pub(super) fn with_controller(&self, controller: &str) -> Option<usize> {
        self.hierarchies.iter().position(|hierarchy| hierarchy.has(controller))
    }
}

impl Hierarchy {
    fn open(mount: &Mount<'_>, membership: &Membership<'_>) -> Option<Hierarchy> {
        // A mount point that another mount hides, or that is not ours to look at, is as good as none.
        let root = Dir::mounted_at(Path::new(&unescape(mount.point)), mount.device).ok()?;
        let below = membership.path.strip_prefix(mount.root.trim_end_matches('/'));
        let own = below
            .filter(|below| below.starts_with('/'))
            .unwrap_or("")
            .trim_matches('/')
            .to_owned();
        let (version, controllers) = match membership.controllers {
            "" => (Version::V2, root.read("cgroup.controllers").ok()?),
            names => (Version::V1, names.replace(',', " ")),
        };
        let controllers = controllers.split_whitespace().map(str::to_owned).collect();
        Some(Hierarchy {
            version,
            controllers,
            root,
            own,
        })
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// The controllers bound to this hierarchy; for a named v1 hierarchy the one entry `name=...`.
    pub fn controllers(&self) -> &[String] {
        &self.controllers
    }

    /// Where the hierarchy is mounted.
    pub fn mount_point(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }

    /// The path below the mount. A relative one starts at this process's own cgroup; in the unified hierarchy beside
    /// it, because a cgroup that has processes cannot hand controllers to its children.
    pub(super) fn below(&self, path: &CgroupPath) -> String {
        let start = match self.version {
            _ if path.absolute => "",
            Version::V1 => &self.own,
            Version::V2 => self.own.rsplit_once('/').map_or("", |(parent, _)| parent),
        };
        let components = start
            .split('/')
            .filter(|part| !part.is_empty())
            .chain(path.components.iter().map(String::as_str));
        components.collect::<Vec<_>>().join("/")
    }
}

impl CgroupPath {
    /// Reads `linux.cgroupsPath`: absolute below each hierarchy's root, or relative to this process's cgroup.
    pub fn parse(path: &str) -> Result<CgroupPath, Error> {
        let invalid = |reason| Error::Path {
            path: path.to_owned(),
            reason,
        };
        let components: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .map(str::to_owned)
            .collect();
        if components.is_empty() {
            return Err(invalid("it names the root"));
        }
        for component in &components {
            if component == ".." {
                return Err(invalid("it climbs by `..`"));
            }
            if component.contains(['\0', '\n']) || component.len() > 255 {
                return Err(invalid("one of its parts cannot be a name"));
            }
        }
        Ok(CgroupPath {
            absolute: path.starts_with('/'),
            components,
        })
    }
}

/// A line of `/proc/self/cgroup`: `id:controllers:path`, with no controllers for the unified hierarchy (cgroups(7)).
struct Membership<'a> {
    controllers: &'a str,
    path: &'a str,
}

impl<'a> Membership<'a> {
    fn parse(line: &'a str) -> Option<Membership<'a>> {
        let mut fields = line.splitn(3, ':').skip(1);
        Some(Membership {
            controllers: fields.next()?,
            path: fields.next()?,
        })
    }
}

/// A cgroup mount in `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
struct Mount<'a> {
    device: u64,
    root: &'a str,
    point: &'a str,
    file_system: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let file_system = after.next().filter(|name| name.starts_with("cgroup"))?;
        let mut before = before.split(' ').skip(2);
        let (major, minor) = before.next()?.split_once(':')?;
        Some(Mount {
            device: rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?),
            root: before.next()?,
            point: before.next()?,
            file_system,
            options: after.nth(1)?,
        })
    }

    fn shows(&self, membership: &Membership<'_>) -> bool {
        match membership.controllers {
            "" => self.file_system == "cgroup2",
            names => {
                let options: Vec<&str> = self.options.split(',').collect();
                self.file_system == "cgroup" && names.split(',').all(|name| options.contains(&name))
            }
        }
    }
}

/// Undoes mountinfo's octal escapes of blanks and backslashes.
fn unescape(field: &str) -> String {
    ["\\040 ", "\\011\t", "\\012\n", "\\134\\"]
        .iter()
        .fold(field.to_owned(), |text, escape| {
            text.replace(&escape[..4], &escape[4..])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let cases = [
            ("/portolan/web", Ok(vec!["portolan", "web"]), "absolute"),
            (
                "portolan//./web/",
                Ok(vec!["portolan", "web"]),
                "empty parts and dots say nothing",
            ),
            ("/", Err(()), "the root is nobody's cgroup"),
            ("/a/../../b", Err(()), "no climbing"),
            ("/a\nb", Err(()), "the kernel refuses line ends"),
        ];
        for (path, expected, reason) in cases {
            let parsed = CgroupPath::parse(path).map(|path| path.components).map_err(|_| ());
            assert_eq!(
                parsed,
                expected.map(|parts| parts.into_iter().map(str::to_owned).collect()),
                "{path}: {reason}"
            );
        }
    }

    #[test]
    fn mount_lines_are_read() {
        let line = "35 31 0:32 /docker/x /sys/fs/cgroup/memory\\040here rw,nosuid shared:9 - cgroup cgroup rw,memory";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.root, mount.options), ("/docker/x", "rw,memory"));
        assert_eq!(unescape(mount.point), "/sys/fs/cgroup/memory here");
        assert!(mount.shows(&Membership {
            controllers: "memory",
            path: "/"
        }));
        assert!(
            !mount.shows(&Membership {
                controllers: "cpu,cpuacct",
                path: "/"
            }),
            "other controllers"
        );
        assert!(
            !mount.shows(&Membership {
                controllers: "",
                path: "/"
            }),
            "not the unified hierarchy"
        );
        assert!(
            Mount::parse("22 1 8:1 / / rw - ext4 /dev/sda1 rw").is_none(),
            "not a cgroup mount"
        );
    }
}
