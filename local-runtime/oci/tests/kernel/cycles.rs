//! Hundreds and thousands of lives, eight at a time: none hangs, nothing is left, and a call needs no more memory at the
//! end than at the beginning.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::bundle::{Bundle, cgroup_mounts, program, text};
use portolan_oci::spec::ContainerParams;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

const AT_ONCE: usize = 8;

/// Many times what a call takes.
const HANGS: Duration = Duration::from_secs(60);

#[test]
fn lives_leave_nothing() {
    live("lives_leave_nothing", 240);
}

#[test]
#[ignore = "takes minutes"]
fn five_thousand_lives_leave_nothing() {
    live("five_thousand_lives_leave_nothing", 5_000);
}

fn live(test: &str, count: usize) {
    let Some(bundle) = Bundle::new(test) else { return };
    // Nothing is written, so that all can have one root; each has the cgroup that its id says.
    for point in ["proc", "dev", "sys"] {
        fs::create_dir(bundle.path("layer").join(point)).unwrap();
    }
    bundle.write(&ContainerParams {
        lower: vec![bundle.path("layer"), bundle.path("upper")],
        writable: None,
        cgroups_path: None,
        ..bundle.params(&["wait"])
    });
    let next = AtomicUsize::new(0);
    let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count);
    let mut peaks: Vec<(usize, Peaks)> = std::thread::scope(|scope| {
        let worker = || {
            let lives = std::iter::from_fn(take).map(|number| (number, Life::new(&bundle, number).live()));
            lives.collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(peaks.len(), count);
    assert_eq!(
        fs::read_dir(bundle.path("state")).unwrap().count(),
        0,
        "folders are left"
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(bundle.path("").to_str().unwrap()),
        "mounts are left: {mounts}"
    );
    peaks.sort_unstable();
    let peaks: Vec<Peaks> = peaks.into_iter().map(|(_, peaks)| peaks).collect();
    assert_flat(&peaks);
}

/// The most memory that each call had, in KiB: create, start, kill, delete.
type Peaks = [u64; 4];

fn assert_flat(peaks: &[Peaks]) {
    let middle = |lives: &[Peaks], call: usize| {
        let mut of_call: Vec<u64> = lives.iter().map(|peaks| peaks[call]).collect();
        of_call.sort_unstable();
        of_call[of_call.len() / 2]
    };
    let hundred = peaks.len().min(100);
    for (call, name) in ["create", "start", "kill", "delete"].into_iter().enumerate() {
        let first = middle(&peaks[..hundred], call);
        let last = middle(&peaks[peaks.len() - hundred..], call);
        eprintln!("{name}: {first} KiB in the first {hundred}, {last} KiB in the last");
        assert!(last <= first + first / 20, "{name} grows: {first} KiB, {last} KiB");
    }
}

struct Life<'a> {
    bundle: &'a Bundle,
    id: String,
    pid_file: PathBuf,
}

impl Life<'_> {
    fn new(bundle: &Bundle, number: usize) -> Life<'_> {
        Life {
            bundle,
            id: format!("{}-{number}", bundle.id),
            pid_file: bundle.path(&format!("pid-{number}")),
        }
    }

    fn live(&self) -> Peaks {
        let create = self.call(&["create", "--pid-file", self.pid_file.to_str().unwrap(), &self.id]);
        let pid = fs::read_to_string(&self.pid_file).unwrap().parse().unwrap();
        fs::remove_file(&self.pid_file).unwrap();
        let init = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        let start = self.call(&["start", &self.id]);
        let kill = self.call(&["kill", &self.id, "KILL"]);
        assert!(ends(init.as_fd()), "{}: its process does not end", self.id);
        let delete = self.call(&["delete", &self.id]);
        for mount in cgroup_mounts() {
            let left = mount.join("portolan").join(&self.id);
            assert!(!left.exists(), "{} is left", left.display());
        }
        [create, start, kill, delete]
    }

    /// Answers the most memory that the call had. The test's program runs it: a child has the memory of who starts it, for
    /// a moment, and this process is large. That program holds no stream of ours, which the container would keep open.
    fn call(&self, arguments: &[&str]) -> u64 {
        let log = self.bundle.path(&format!("{}.log", self.id));
        let runtime = self
            .bundle
            .command(&[&["--log", log.to_str().unwrap()], arguments].concat());
        let mut command = Command::new(program());
        command.arg("peak").arg(runtime.get_program()).args(runtime.get_args());
        command.current_dir(runtime.get_current_dir().unwrap());
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        assert!(ends(pidfd.as_fd()), "{arguments:?} hangs");
        let output = child.wait_with_output().unwrap();
        let failure = fs::read_to_string(log).unwrap_or_default();
        assert!(output.status.success(), "{arguments:?}: {failure}");
        text(&output).trim().parse().unwrap()
    }
}

fn ends(process: BorrowedFd<'_>) -> bool {
    let limit = HANGS.try_into().unwrap();
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)).unwrap() == 1
}
