//! Whether the machine has memory for one more replica while an update is under way.
//!
//! What counts are the manifest's limits: a container without one takes what is there, and promises nothing. Other apps and
//! programs are not counted, for nobody can tell what they will take.

use portolan_core::desired::{DesiredService, DesiredState};

/// The memory of this machine, from proc(5); unknown where it cannot be read.
pub fn memory_of_this_machine() -> Option<u64> {
    total(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// All replicas of the app at their limits, and one more of this service.
pub fn is_there_for_one_more(of: &DesiredService, desired: &DesiredState, memory: Option<u64>) -> bool {
    let services = desired.services.values();
    let all: u64 = services.map(|one| u64::from(one.replicas) * replica(one)).sum();
    let one_more = replica(of);
    one_more == 0 || memory.is_none_or(|memory| all + one_more <= memory)
}

fn replica(service: &DesiredService) -> u64 {
    let sidecars = service.sidecars.values().map(|sidecar| &sidecar.container);
    let containers = sidecars.chain([&service.container]);
    containers.filter_map(|one| one.resources.memory_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        for (reason, text, expected) in [
            (
                "as it writes them",
                "MemTotal:       24576 kB\nMemFree: 1 kB\n",
                Some(24 << 20),
            ),
            ("without the line", "MemFree: 1 kB\n", None),
            ("no number", "MemTotal: much kB\n", None),
        ] {
            assert_eq!(total(text), expected, "{reason}");
        }
    }
}
