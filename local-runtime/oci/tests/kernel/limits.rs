//! Limits on real containers, and what a container sees of cgroups.

use std::fs;
use std::time::{Duration, Instant};

use super::bundle::{Bundle, text};
use portolan_oci::spec::{ContainerParams, Limits};

fn limited(bundle: &Bundle, arguments: &[&str], limits: Limits) -> ContainerParams {
    ContainerParams {
        limits,
        ..bundle.params(arguments)
    }
}

#[test]
fn memory_beyond_the_limit_kills() {
    let Some(bundle) = Bundle::new("memory_beyond_the_limit_kills") else {
        return;
    };
    let limits = Limits {
        memory_bytes: Some(16 << 20),
        ..Limits::default()
    };
    assert!(bundle.run(&limited(&bundle, &["eat", "4"], limits)).status.success());
    bundle.start(&limited(&bundle, &["eat", "200"], limits));
    bundle.wait_until_stopped();
    assert_eq!(bundle.output(), "", "it was killed before it had eaten");
    let events = bundle.cgroup_file(&["memory.oom_control", "memory.events"]);
    assert!(events.lines().any(|line| line == "oom_kill 1"), "{events}");
}

#[test]
fn processes_beyond_the_limit_are_not_made() {
    let Some(bundle) = Bundle::new("processes_beyond_the_limit_are_not_made") else {
        return;
    };
    let limits = Limits {
        pids: Some(4),
        ..Limits::default()
    };
    let seen = text(&bundle.run(&limited(&bundle, &["fork", "20"], limits)));
    assert!(seen.contains("fork 3: Resource temporarily unavailable"), "{seen}");
}

#[test]
fn the_quota_of_processor_time_is_set() {
    let Some(bundle) = Bundle::new("the_quota_of_processor_time_is_set") else {
        return;
    };
    let limits = Limits {
        cpu_millis: Some(250),
        ..Limits::default()
    };
    bundle.start(&limited(&bundle, &["wait"], limits));
    let quota = bundle.cgroup_file(&["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["25000", "25000 100000"].contains(&quota.as_str()), "{quota}");
    let procs = bundle.cgroup_file(&["cgroup.procs"]);
    assert_eq!(procs, bundle.pid().to_string(), "the process is in its cgroup");
}

#[test]
fn processor_time_beyond_the_quota_is_withheld_and_counted() {
    let Some(bundle) = Bundle::new("processor_time_beyond_the_quota_is_withheld_and_counted") else {
        return;
    };
    let limits = Limits {
        cpu_millis: Some(250),
        ..Limits::default()
    };
    // 25 ms in each 100 ms: this much needs eight of them, and is held up in half of them at the very least.
    let begun = Instant::now();
    bundle.start(&limited(&bundle, &["burn", "200"], limits));
    bundle.wait_until_stopped();
    assert_eq!(bundle.output(), "burnt\n");
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    // Beside hierarchies of version 1 the unified one has a file of that name, without these lines.
    let stats = bundle.cgroups().into_iter();
    let mut stats = stats.filter_map(|folder| fs::read_to_string(folder.join("cpu.stat")).ok());
    let throttled = stats.find_map(|stat| {
        let count = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "))?;
        count.parse::<u32>().ok()
    });
    assert!(throttled.is_some_and(|throttled| throttled >= 4), "{throttled:?}");
}

#[test]
fn a_container_cannot_raise_its_limits() {
    let Some(bundle) = Bundle::new("a_container_cannot_raise_its_limits") else {
        return;
    };
    let limits = Limits {
        pids: Some(9),
        ..Limits::default()
    };
    let files = ["/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"];
    let file = if bundle.is_unified() { files[1] } else { files[0] };
    assert_eq!(
        text(&bundle.run(&limited(&bundle, &["cat", file], limits))),
        "9\n",
        "it sees its own limit and no other's"
    );
    let seen = text(&bundle.run(&limited(&bundle, &["write", file], limits)));
    assert!(seen.contains("Read-only file system"), "{seen}");
    let agent = "/sys/fs/cgroup/memory/release_agent";
    let seen = text(&bundle.run(&limited(&bundle, &["cat", agent], limits)));
    assert!(
        seen.contains("No such file"),
        "the root of a hierarchy does not show: {seen}"
    );
}

#[test]
fn the_cgroup_goes_with_the_container() {
    let Some(bundle) = Bundle::new("the_cgroup_goes_with_the_container") else {
        return;
    };
    bundle.start(&bundle.params(&["fork", "3"]));
    bundle.wait_until("forked", |bundle| bundle.output().contains("forked 3"));
    bundle.wait_until_stopped();
    assert!(!bundle.cgroups().is_empty());
    bundle.ok(&["delete", "{id}"]);
    bundle.assert_gone();
}
