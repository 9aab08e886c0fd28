//! Whether the kernel has ended a container for its memory, asked after its end and before its cgroup goes.

use crate::cgroups;
use crate::machine::ContainerKey;

/// v2: `oom_kill N` in memory.events. v1: the same line in memory.oom_control.
pub fn was_oom_killed(instance: &str, key: &ContainerKey) -> bool {
    let path = cgroups::path(instance, key);
    let files = ["memory.events", "memory.oom_control"];
    files
        .iter()
        .filter_map(|file| cgroups::read(&path, file))
        .any(|text| kills(&text) > 0)
}

fn kills(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_tell() {
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), 2);
        assert_eq!(kills("low 0\nhigh 0\nmax 7\noom 1\noom_kill 0\n"), 0);
    }
}
