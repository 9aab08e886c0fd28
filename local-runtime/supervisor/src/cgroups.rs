//! The cgroups above the containers' own: named here, removed here. The containers' own belong to the runtime.

use std::fs;
use std::path::{Path, PathBuf};

use crate::hash::{digest, hex};
use crate::machine::ContainerKey;

/// Common to all apps.
const TOP: &str = "portolan";

/// `<namespace>.<app>.<hash of the run folder>`: two apps of one name, kept in different folders, share no cgroup.
pub fn instance(app: &str, run: &Path) -> String {
    let hash = digest(&run.to_string_lossy());
    format!("{}.{}", app.replace('/', "."), hex(&hash[..4]))
}

/// `/portolan/<instance>/<workload>.<pod>.<container>`, from the root of each hierarchy. Names have no dots, so no two
/// containers have one path.
pub fn path(instance: &str, key: &ContainerKey) -> String {
    format!("/{TOP}/{instance}/{}.{}.{}", key.workload, key.pod, key.name)
}

/// Removes the instance's folder, and the one common to all, wherever they are empty.
pub fn remove_parents(instance: &str) {
    for mount in mounts() {
        let top = mount.join(TOP);
        // Other apps' groups keep the common folder (EBUSY), and not every hierarchy has ours (ENOENT).
        let _ = fs::remove_dir(top.join(instance));
        let _ = fs::remove_dir(top);
    }
}

/// Where cgroup hierarchies of either version are mounted.
fn mounts() -> Vec<PathBuf> {
    parse_mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// proc(5): the mount point is field 5, the type is the first field after the separator ` - `.
fn parse_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let parse = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let is_cgroup = matches!(tail.split(' ').next()?, "cgroup" | "cgroup2");
        is_cgroup.then(|| head.split(' ').nth(4).map(PathBuf::from)).flatten()
    };
    mountinfo.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_both_versions_are_found() {
        let text = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                    27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            parse_mounts(text),
            ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"].map(PathBuf::from)
        );
    }
}
