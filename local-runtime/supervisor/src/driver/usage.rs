//! What containers use and which limits they ran into, read from their cgroups when somebody asks or one has ended: at
//! rest it costs nothing.

use portolan_oci::cgroup::{Cgroup, CgroupPath, Layout, Stats};

use crate::cgroups;
use crate::machine::{Container, ContainerKey, ContainerStatus, Millis, State};
use crate::protocol::{ReachedLimit, Usage};
use crate::spec::Kind;

/// Asked after a container's end and before its cgroup goes.
pub fn reached_limit(instance: &str, key: &ContainerKey) -> Option<ReachedLimit> {
    limit_of(&Layout::detect().ok().and_then(|layout| stats(&layout, instance, key))?)
}

/// Whether the main process was killed or one of its children is not told apart: the container did not end well after it.
fn limit_of(stats: &Stats) -> Option<ReachedLimit> {
    if stats.memory.oom_kills.is_some_and(|kills| kills > 0) {
        return Some(ReachedLimit::Memory(stats.memory.limit.unwrap_or(0)));
    }
    let refused = stats.pids.refused.is_some_and(|refused| refused > 0);
    refused.then_some(ReachedLimit::Pids(stats.pids.limit?))
}

/// Those whose limits nobody keeps any more.
pub fn without_cgroup(keys: impl IntoIterator<Item = ContainerKey>, instance: &str) -> Vec<ContainerKey> {
    let Ok(layout) = Layout::detect() else { return vec![] };
    let keys = keys.into_iter();
    keys.filter(|key| cgroup(&layout, instance, key).is_none()).collect()
}

/// Of every container that runs. Some ten small files are read for each.
pub fn of_all(state: &State, instance: &str, now: Millis) -> Vec<Usage> {
    let Ok(layout) = Layout::detect() else { return vec![] };
    let services = state.services.iter();
    let services = services.map(|(name, one)| (Kind::Service, name, &one.pods, &one.templates));
    let jobs = state.jobs.iter();
    let jobs = jobs.map(|(name, one)| (Kind::Job, name, &one.pods, &one.templates));
    let mut all = vec![];
    for (kind, workload, pods, templates) in services.chain(jobs) {
        for (pod, one) in pods {
            for (name, container) in &one.containers {
                let (workload, name) = (workload.clone(), name.clone());
                let spec = templates[&one.template].pod.container(&name);
                let cpu_limit_millis = spec.and_then(|spec| spec.resources.cpu_millis);
                let pod = *pod;
                let key = ContainerKey {
                    kind,
                    workload,
                    pod,
                    name,
                };
                // Between its end and our knowledge of it a container has no cgroup.
                let stats = stats(&layout, instance, &key).unwrap_or_default();
                let usage = usage(key, container, &stats, now);
                all.extend(usage.map(|usage| Usage {
                    cpu_limit_millis,
                    ..usage
                }));
            }
        }
    }
    all
}

fn stats(layout: &Layout, instance: &str, key: &ContainerKey) -> Option<Stats> {
    cgroup(layout, instance, key).map(|cgroup| cgroup.stats())
}

fn cgroup(layout: &Layout, instance: &str, key: &ContainerKey) -> Option<Cgroup> {
    let path = CgroupPath::parse(&cgroups::path(instance, key)).ok()?;
    Cgroup::open(layout, &path).ok()
}

fn usage(key: ContainerKey, container: &Container, stats: &Stats, now: Millis) -> Option<Usage> {
    let ContainerStatus::Running { since, .. } = container.status else {
        return None;
    };
    let cache = stats.memory.inactive_file.unwrap_or(0);
    Some(Usage {
        kind: key.kind,
        workload: key.workload,
        replica: key.pod,
        container: key.name,
        restarts: container.starts.saturating_sub(1),
        up_ms: now.0.saturating_sub(since.0),
        cpu_us: stats.cpu.usage_us,
        cpu_limit_millis: None,
        periods: stats.cpu.periods,
        throttled_periods: stats.cpu.throttled_periods,
        memory_bytes: stats.memory.current.map(|bytes| bytes.saturating_sub(cache)),
        memory_limit_bytes: stats.memory.limit,
        oom_kills: stats.memory.oom_kills,
        pids: stats.pids.current,
        pids_limit: stats.pids.limit,
        pids_refused: stats.pids.refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_oci::cgroup::{MemoryStats, PidsStats};

    #[test]
    fn the_limit_that_was_reached_is_told() {
        let memory = |oom_kills| MemoryStats {
            oom_kills,
            limit: Some(256 << 20),
            ..Default::default()
        };
        let pids = |refused| PidsStats {
            refused,
            limit: Some(64),
            ..Default::default()
        };
        for (reason, kills, refused, expected) in [
            ("nothing happened", Some(0), Some(0), None),
            ("the kernel does not tell", None, None, None),
            ("a kill", Some(1), Some(0), Some("exceeded 256Mi")),
            (
                "a refused fork",
                Some(0),
                Some(3),
                Some("reached its limit of 64 processes"),
            ),
            (
                "both: memory is what ends processes",
                Some(1),
                Some(3),
                Some("exceeded 256Mi"),
            ),
        ] {
            let stats = Stats {
                memory: memory(kills),
                pids: pids(refused),
                ..Default::default()
            };
            let told = limit_of(&stats).map(|limit| limit.to_string());
            assert_eq!(told.as_deref(), expected, "{reason}");
        }
    }
}
