//! Cgroups on this machine's kernel: limits that bite, freezing, killing, and nothing left behind.
//!
//! Each test makes cgroups of its own, below a folder named after this process. They need root (or a delegated
//! hierarchy) and are skipped, loudly, without.

use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use oci_spec::runtime::{
    LinuxCpuBuilder, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxHugepageLimitBuilder, LinuxMemoryBuilder,
    LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
};
use portolan_oci::cgroup::{Cgroup, CgroupPath, Error, Layout, Version};

/// Far longer than anything here takes: a bound on waiting, not a measure.
const LONG: Duration = Duration::from_secs(20);

/// A cgroup that is gone after the test, however the test ends.
struct Fixture {
    layout: Layout,
    path: CgroupPath,
    name: String,
    cgroup: Option<Cgroup>,
}

impl Fixture {
    fn new(test: &str, resources: &LinuxResources) -> Option<Fixture> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let layout = Layout::detect().unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("portolan-test-{}-{count}", std::process::id());
        let path = CgroupPath::parse(&format!("/{name}/leaf")).unwrap();
        match Cgroup::create(&layout, &path, resources) {
            Ok(cgroup) => Some(Fixture {
                layout,
                path,
                name,
                cgroup: Some(cgroup),
            }),
            Err(error) if error.is_no_delegation() => {
                eprintln!("SKIP {test}: {error}");
                None
            }
            Err(error) => panic!("{test}: {error:?}"),
        }
    }

    fn cgroup(&self) -> &Cgroup {
        self.cgroup.as_ref().unwrap()
    }

    /// Starts a shell in the cgroup, which enters it by itself as a container does.
    fn start(&self, script: &str) -> Child {
        let entry = self.cgroup().entry().unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // SAFETY: the closure makes system calls and allocates nothing.
        unsafe { command.pre_exec(move || entry.enter()) };
        let child = command.spawn().unwrap();
        // The unified hierarchy is entered by CLONE_INTO_CGROUP in the runtime; here by the slower way.
        if self
            .layout
            .hierarchies()
            .iter()
            .any(|hierarchy| hierarchy.version() == Version::V2)
        {
            self.cgroup().attach(child.id() as i32).unwrap();
        }
        child
    }

    /// The folders of this fixture that exist in any hierarchy.
    fn folders(&self) -> Vec<PathBuf> {
        let folder = |point: &std::path::Path| point.join(&self.name);
        let folders = self
            .layout
            .hierarchies()
            .iter()
            .map(|hierarchy| folder(hierarchy.mount_point()));
        folders.filter(|folder| folder.exists()).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(cgroup) = self.cgroup.take() {
            _ = cgroup.kill_all(LONG);
            _ = cgroup.delete_with_parents(LONG);
        }
    }
}

fn wait(mut child: Child) -> ExitStatus {
    drop(child.stdin.take());
    child.wait().unwrap()
}

/// Waits until `holds`, and fails when it never does.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} never came true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn offers(fixture: &Fixture, controller: &str, test: &str) -> bool {
    let offered = fixture
        .layout
        .hierarchies()
        .iter()
        .any(|one| one.controllers().iter().any(|name| name == controller));
    if !offered {
        eprintln!("SKIP {test}: no cgroup controller `{controller}`");
    }
    offered
}

fn nothing() -> LinuxResources {
    LinuxResourcesBuilder::default().build().unwrap()
}

#[test]
fn a_hog_is_killed_at_its_memory_limit() {
    let test = "a_hog_is_killed_at_its_memory_limit";
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    if !offers(&fixture, "memory", test) {
        return;
    }
    let limit = 16 << 20;
    let memory = LinuxMemoryBuilder::default().limit(limit).swap(limit).build().unwrap();
    fixture
        .cgroup()
        .update(&LinuxResourcesBuilder::default().memory(memory).build().unwrap())
        .unwrap();
    assert_eq!(fixture.cgroup().stats().memory.limit, Some(limit as u64));
    let hog = fixture.start("read go; x=0123456789abcdef; while :; do x=$x$x; done");
    let status = wait(hog);
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
    let stats = fixture.cgroup().stats();
    assert_eq!(stats.memory.oom_kills, Some(1), "{stats:?}");
    assert!(stats.memory.peak.is_none_or(|peak| peak <= limit as u64), "{stats:?}");
}

#[test]
fn a_limit_below_what_is_used_is_refused_when_asked_to_look() {
    let test = "a_limit_below_what_is_used_is_refused_when_asked_to_look";
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    if !offers(&fixture, "memory", test) {
        return;
    }
    let child = fixture.start("x=0123456789abcdef; while [ ${#x} -lt 8000000 ]; do x=$x$x; done; echo ready; read go");
    eventually("eight megabytes in use", || {
        fixture.cgroup().stats().memory.current.unwrap() > 8_000_000
    });
    let memory = LinuxMemoryBuilder::default()
        .limit(1_i64 << 20)
        .check_before_update(true)
        .build()
        .unwrap();
    let answer = fixture
        .cgroup()
        .update(&LinuxResourcesBuilder::default().memory(memory).build().unwrap());
    assert!(
        answer
            .unwrap_err()
            .to_string()
            .starts_with("`memory.limit` is 1048576, and more memory")
    );
    wait(child);
}

#[test]
fn forks_stop_at_the_pids_limit() {
    let test = "forks_stop_at_the_pids_limit";
    let pids = LinuxPidsBuilder::default().limit(3).build().unwrap();
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    if !offers(&fixture, "pids", test) {
        return;
    }
    fixture
        .cgroup()
        .update(&LinuxResourcesBuilder::default().pids(pids).build().unwrap())
        .unwrap();
    assert_eq!(fixture.cgroup().stats().pids.limit, Some(3));
    // The shell and two of its children: the third fork fails, and a shell ends with 2 then.
    let shell = fixture.start("read go; sleep 60 & sleep 60 & sleep 60 & wait");
    let status = wait(shell);
    assert_eq!(status.code(), Some(2), "{status}");
    assert!(fixture.cgroup().stats().pids.current.unwrap() <= 3);
}

#[test]
fn a_cpu_quota_throttles() {
    let test = "a_cpu_quota_throttles";
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    if !offers(&fixture, "cpu", test) {
        return;
    }
    let cpu = LinuxCpuBuilder::default()
        .period(10_000_u64)
        .quota(1_000)
        .build()
        .unwrap();
    fixture
        .cgroup()
        .update(&LinuxResourcesBuilder::default().cpu(cpu).build().unwrap())
        .unwrap();
    let mut child = fixture.start("while :; do :; done");
    // The time is counted when a period ends the throttling.
    eventually("being throttled", || {
        let stats = fixture.cgroup().stats().cpu;
        stats.throttled_periods.unwrap() > 2 && stats.throttled_us.unwrap() > 0 && stats.usage_us.unwrap() > 0
    });
    fixture.cgroup().kill_all(LONG).unwrap();
    child.wait().unwrap();
}

#[test]
fn limits_that_bound_each_other_can_be_raised_and_lowered() {
    let test = "limits_that_bound_each_other_can_be_raised_and_lowered";
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    if !offers(&fixture, "memory", test) || !offers(&fixture, "cpu", test) {
        return;
    }
    for (mebi, period, quota) in [
        (64_i64, 10_000_u64, 5_000_i64),
        (256, 1_000_000, 800_000),
        (32, 2_000, 1_000),
    ] {
        let memory = LinuxMemoryBuilder::default()
            .limit(mebi << 20)
            .swap(mebi << 20)
            .build()
            .unwrap();
        let cpu = LinuxCpuBuilder::default()
            .period(period)
            .quota(quota)
            .shares(512_u64)
            .build()
            .unwrap();
        let resources = LinuxResourcesBuilder::default()
            .memory(memory)
            .cpu(cpu)
            .build()
            .unwrap();
        fixture.cgroup().update(&resources).unwrap();
        assert_eq!(fixture.cgroup().stats().memory.limit, Some((mebi as u64) << 20));
    }
}

#[test]
fn frozen_processes_stand_and_go_on() {
    let Some(fixture) = Fixture::new("frozen_processes_stand_and_go_on", &nothing()) else {
        return;
    };
    let mut child = fixture.start("while :; do :; done");
    eventually("entering", || !fixture.cgroup().pids().unwrap().is_empty());
    fixture.cgroup().freeze(LONG).unwrap();
    assert!(fixture.cgroup().is_frozen().unwrap());
    assert_eq!(fixture.cgroup().pids().unwrap(), [child.id() as i32]);
    fixture.cgroup().thaw().unwrap();
    eventually("thawing", || !fixture.cgroup().is_frozen().unwrap());
    fixture.cgroup().freeze(LONG).unwrap();
    fixture.cgroup().kill_all(LONG).unwrap();
    assert_eq!(
        child.wait().unwrap().signal(),
        Some(libc::SIGKILL),
        "frozen processes can be killed"
    );
}

#[test]
fn signals_reach_all_and_no_process_survives_kill_all() {
    let Some(fixture) = Fixture::new("signals_reach_all_and_no_process_survives_kill_all", &nothing()) else {
        return;
    };
    let mut tree = fixture.start("for i in 1 2 3 4 5; do (sleep 60 & sleep 60; :) & done; wait");
    eventually("a tree of processes", || fixture.cgroup().pids().unwrap().len() == 16);
    fixture.cgroup().signal_all(libc::SIGUSR1).unwrap();
    assert_eq!(tree.wait().unwrap().signal(), Some(libc::SIGUSR1));
    let mut forker = fixture.start("while :; do sh -c : & done");
    eventually("forking", || fixture.cgroup().pids().unwrap().len() > 3);
    fixture.cgroup().kill_all(LONG).unwrap();
    assert!(fixture.cgroup().pids().unwrap().is_empty());
    forker.wait().unwrap();
}

#[test]
fn delete_leaves_nothing_not_even_cgroups_made_inside() {
    let test = "delete_leaves_nothing_not_even_cgroups_made_inside";
    let Some(mut fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    assert_eq!(
        fixture.folders().len(),
        fixture.layout.hierarchies().len(),
        "one folder in each hierarchy"
    );
    for folder in fixture.folders() {
        std::fs::create_dir_all(folder.join("leaf/made/inside")).unwrap();
    }
    let mut child = fixture.start("sleep 60");
    let opened = Cgroup::open(&fixture.layout, &fixture.path).unwrap();
    opened.kill_all(LONG).unwrap();
    // A zombie would keep the cgroup busy.
    child.wait().unwrap();
    opened.delete_with_parents(LONG).unwrap();
    assert_eq!(fixture.folders(), [] as [PathBuf; 0]);
    let gone = Cgroup::open(&fixture.layout, &fixture.path);
    assert!(matches!(gone, Err(Error::Open { .. })), "{gone:?}");
    fixture
        .cgroup
        .take()
        .unwrap()
        .delete(LONG)
        .expect("deleting what is gone is success");
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let test = "a_failed_creation_leaves_nothing";
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    let other = CgroupPath::parse(&format!("/{}/other", fixture.name)).unwrap();
    let page = LinuxHugepageLimitBuilder::default()
        .page_size("3MB")
        .limit(1_i64)
        .build()
        .unwrap();
    let resources = LinuxResourcesBuilder::default()
        .hugepage_limits([page])
        .build()
        .unwrap();
    let error = Cgroup::create(&fixture.layout, &other, &resources).unwrap_err();
    assert!(error.to_string().contains("`hugepageLimits`"), "{error}");
    assert!(fixture.folders().iter().all(|folder| !folder.join("other").exists()));
}

#[test]
fn a_cgroup_in_use_is_not_taken_over() {
    let Some(fixture) = Fixture::new("a_cgroup_in_use_is_not_taken_over", &nothing()) else {
        return;
    };
    let child = fixture.start("read go");
    let again = Cgroup::create(&fixture.layout, &fixture.path, &nothing());
    assert!(matches!(again, Err(Error::InUse { .. })), "{again:?}");
    assert_eq!(
        fixture.cgroup().pids().unwrap(),
        [child.id() as i32],
        "and stays as it was"
    );
    wait(child);
    eventually("an end", || fixture.cgroup().pids().unwrap().is_empty());
    Cgroup::create(&fixture.layout, &fixture.path, &nothing()).expect("what a crash left over may be used again");
}

#[test]
fn devices_outside_the_list_cannot_be_opened() {
    let test = "devices_outside_the_list_cannot_be_opened";
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    // /dev/null is in every container; /dev/kmsg (1:11) is not, until a rule says so.
    let script = "read go; (: < /dev/null) || exit 3; (: < /dev/kmsg) || exit 4";
    if std::fs::File::open("/dev/kmsg").is_err() {
        eprintln!("SKIP {test}: /dev/kmsg cannot be opened at all");
        return;
    }
    let denied = wait(fixture.start(script));
    assert_eq!(denied.code(), Some(4));
    let rule = LinuxDeviceCgroupBuilder::default()
        .allow(true)
        .typ(LinuxDeviceType::C)
        .major(1)
        .minor(11)
        .access("r");
    let resources = LinuxResourcesBuilder::default()
        .devices([rule.build().unwrap()])
        .build()
        .unwrap();
    fixture.cgroup().update(&resources).unwrap();
    let allowed = wait(fixture.start(script));
    assert_eq!(allowed.code(), Some(0));
}

#[test]
fn what_this_machine_lacks_is_refused_by_name() {
    let test = "what_this_machine_lacks_is_refused_by_name";
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    let unified = [("nosuch.max".to_owned(), "1".to_owned())]
        .into_iter()
        .collect::<std::collections::HashMap<_, _>>();
    let resources = LinuxResourcesBuilder::default().unified(unified).build().unwrap();
    let error = fixture.cgroup().update(&resources).unwrap_err();
    let expected = "`unified.nosuch.max` needs cgroup controller `nosuch`, which this machine does not offer";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_process_can_be_started_in_place() {
    let test = "a_process_can_be_started_in_place";
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    let Some(unified) = fixture.cgroup().unified() else {
        eprintln!("SKIP {test}: no unified hierarchy");
        return;
    };
    let mut arguments = [0_u64; 11];
    // CLONE_INTO_CGROUP of linux/sched.h: the constant of libc is an int, which is too narrow for it.
    arguments[0] = 0x2_0000_0000;
    arguments[4] = libc::SIGCHLD as u64;
    arguments[10] = unified.as_raw_fd() as u64;
    // SAFETY: `struct clone_args` of version 2; the child makes system calls and allocates nothing.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)) } as i32;
    if pid == 0 {
        // SAFETY: waits for the signal that ends it.
        unsafe { libc::pause() };
    }
    let pids = fixture.cgroup().pids();
    // SAFETY: signals and reaps the child made above, wherever it was started.
    let reaped = unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0)
    };
    assert_eq!(reaped, pid);
    assert_eq!(pids.unwrap(), [pid]);
}

#[test]
fn a_relative_path_starts_where_this_process_is() {
    let test = "a_relative_path_starts_where_this_process_is";
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    let path = CgroupPath::parse(&format!("{}-relative", fixture.name)).unwrap();
    let cgroup = Cgroup::create(&fixture.layout, &path, &nothing()).unwrap();
    let memberships = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    for (hierarchy, _, below) in cgroup
        .directories()
        .filter(|(hierarchy, ..)| hierarchy.version() == Version::V1)
    {
        let (own, _) = below.rsplit_once('/').unwrap_or_default();
        let names = hierarchy.controllers().join(",");
        assert!(
            memberships
                .lines()
                .any(|line| line.ends_with(&format!(":{names}:/{own}"))),
            "{names}: {below}"
        );
    }
    cgroup.delete(LONG).unwrap();
}

/// Credentials belong to a thread, so that this one can give up root and end.
#[test]
fn without_delegation_the_error_says_so() {
    let test = "without_delegation_the_error_says_so";
    let Some(fixture) = Fixture::new(test, &nothing()) else {
        return;
    };
    let path = CgroupPath::parse(&format!("/{}/other", fixture.name)).unwrap();
    let answer = std::thread::spawn(move || {
        // SAFETY: the raw call takes three numbers and changes this thread alone.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        (
            changed,
            Cgroup::create(&Layout::detect().unwrap(), &path, &nothing()).map(|_| ()),
        )
    });
    match answer.join().unwrap() {
        (0, answer) => assert!(answer.as_ref().is_err_and(Error::is_no_delegation), "{answer:?}"),
        _ => eprintln!("SKIP {test}: cannot become another user"),
    }
    assert!(fixture.folders().iter().all(|folder| !folder.join("other").exists()));
}
