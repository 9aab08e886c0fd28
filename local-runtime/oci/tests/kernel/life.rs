//! The life of a container, verb by verb: what each does, what it refuses, and that nothing is left.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::bundle::{Bundle, cgroup_mounts, ended, process_state, text};
use portolan_oci::spec::ContainerParams;
use serde_json::Value;

#[test]
fn a_container_goes_through_its_life() {
    let Some(bundle) = Bundle::new("a_container_goes_through_its_life") else {
        return;
    };
    bundle.write(&bundle.params(&["wait"]));
    bundle.create();
    let state = bundle.state();
    assert_eq!(
        (&state["status"], &state["pid"]),
        (&"created".into(), &bundle.pid().into())
    );
    assert_eq!(
        state["bundle"],
        bundle.path("").canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(bundle.output(), "", "nothing runs before the start");
    assert!(bundle.refused(&["create", "{id}"]).contains("there is a container"));
    assert!(bundle.refused(&["delete", "{id}"]).contains("is created"));
    bundle.ok(&["start", "{id}"]);
    assert_eq!(bundle.state()["status"], "running");
    assert!(bundle.refused(&["start", "{id}"]).contains("is running"));
    assert!(bundle.refused(&["delete", "{id}"]).contains("is running"));
    assert!(bundle.ok(&["list"]).contains("running"));
    bundle.wait_until("waiting", |bundle| bundle.output() == "waiting\n");
    bundle.ok(&["kill", "{id}"]);
    bundle.wait_until_stopped();
    assert!(bundle.state().get("pid").is_none());
    assert!(bundle.refused(&["kill", "{id}"]).contains("is stopped"));
    bundle.ok(&["delete", "{id}"]);
    assert!(bundle.refused(&["state", "{id}"]).contains("there is no container"));
    bundle.ok(&["delete", "--force", "{id}"]);
    bundle.assert_gone();
}

#[test]
fn what_dies_before_its_start_is_stopped() {
    let Some(bundle) = Bundle::new("what_dies_before_its_start_is_stopped") else {
        return;
    };
    bundle.write(&bundle.params(&["wait"]));
    bundle.create();
    bundle.ok(&["kill", "{id}", "KILL"]);
    bundle.wait_until_stopped();
    assert!(bundle.refused(&["start", "{id}"]).contains("is stopped"));
    bundle.ok(&["delete", "{id}"]);
    bundle.assert_gone();
}

/// The runtime was killed between making the cgroup and keeping a record: only the configuration says where that is.
#[test]
fn what_was_cut_off_in_its_making_is_deleted() {
    let Some(bundle) = Bundle::new("what_was_cut_off_in_its_making_is_deleted") else {
        return;
    };
    bundle.write(&bundle.params(&[]));
    let cut_off = || {
        let folder = bundle.path("state").join(&bundle.id);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(bundle.path("config.json"), folder.join("config.json")).unwrap();
        let folders = cgroup_mounts().into_iter();
        let folders = folders.map(|mount| mount.join(bundle.cgroup().trim_start_matches('/')));
        folders
            .inspect(|folder| fs::create_dir(folder).unwrap())
            .collect::<Vec<_>>()
    };
    cut_off();
    assert!(bundle.refused(&["state", "{id}"]).contains("is creating"));
    bundle.ok(&["delete", "{id}"]);
    bundle.assert_gone();
    let folders = cut_off();
    let mut stranger = Command::new("sleep").arg("100").spawn().unwrap();
    // A new cpuset takes no process.
    let takes = |folder: &&PathBuf| fs::write(folder.join("cgroup.procs"), stranger.id().to_string()).is_ok();
    let taken = folders.iter().find(takes).unwrap();
    bundle.ok(&["delete", "{id}"]);
    assert!(!ended(stranger.id()), "a cgroup with processes is another's");
    assert!(taken.is_dir());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    for folder in &folders {
        _ = fs::remove_dir(folder);
    }
    bundle.assert_gone();
}

#[test]
fn an_id_is_no_path() {
    let Some(bundle) = Bundle::new("an_id_is_no_path") else {
        return;
    };
    fs::create_dir_all(bundle.path("canary")).unwrap();
    bundle.write(&bundle.params(&[]));
    for id in ["../canary", "..", ".", "", "a/b"] {
        for verb in ["create", "start", "state", "kill", "run"] {
            assert!(
                bundle.refused(&[verb, id]).contains("is no container id"),
                "{verb} {id:?}"
            );
        }
        assert!(
            bundle
                .refused(&["delete", "--force", id])
                .contains("is no container id"),
            "{id:?}"
        );
    }
    assert!(bundle.path("canary").is_dir());
}

#[test]
fn exit_codes_come_back() {
    let Some(bundle) = Bundle::new("exit_codes_come_back") else {
        return;
    };
    assert_eq!(bundle.run(&bundle.params(&["exit", "7"])).status.code(), Some(7));
    let params = ContainerParams {
        args: vec!["/bin/nothing".into()],
        ..bundle.params(&[])
    };
    let output = bundle.run(&params);
    assert_eq!(output.status.code(), Some(125));
    assert!(
        text(&output).contains("`/bin/nothing` is no executable file in the container"),
        "{}",
        text(&output)
    );
}

#[test]
fn run_passes_signals_on_and_leaves_nothing() {
    let Some(bundle) = Bundle::new("run_passes_signals_on_and_leaves_nothing") else {
        return;
    };
    bundle.write(&bundle.params(&["wait"]));
    let out = fs::File::create(bundle.path("out")).unwrap();
    let mut child = bundle.command(&["run", "{id}"]).stdout(out).spawn().unwrap();
    bundle.wait_until("waiting", |bundle| bundle.output() == "waiting\n");
    signal(child.id(), libc::SIGUSR1);
    assert_eq!(child.wait().unwrap().code(), Some(40 + libc::SIGUSR1));
    bundle.assert_gone();
    let output = bundle.run(&bundle.params(&["exit", "7"]));
    assert_eq!(output.status.code(), Some(7));
    bundle.assert_gone();
}

#[test]
fn a_killed_run_is_cleaned_up_by_delete() {
    let Some(bundle) = Bundle::new("a_killed_run_is_cleaned_up_by_delete") else {
        return;
    };
    bundle.write(&bundle.params(&["wait"]));
    let out = fs::File::create(bundle.path("out")).unwrap();
    let mut child = bundle
        .command(&["run", "--pid-file", "pid", "{id}"])
        .stdout(out)
        .spawn()
        .unwrap();
    bundle.wait_until("waiting", |bundle| bundle.output() == "waiting\n");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        bundle.state()["status"],
        "running",
        "the container outlives its runtime"
    );
    bundle.ok(&["delete", "--force", "{id}"]);
    bundle.assert_gone();
    assert!(ended(bundle.pid()));
}

#[test]
fn kill_reaches_the_first_process_or_all() {
    let Some(bundle) = Bundle::new("kill_reaches_the_first_process_or_all") else {
        return;
    };
    bundle.start(&bundle.params(&["wait"]));
    let exec = ["exec", "--detach", "--pid-file", "guest", "{id}", "see", "wait"];
    assert!(bundle.command(&exec).stdout(Stdio::null()).status().unwrap().success());
    let guest = fs::read_to_string(bundle.path("guest")).unwrap().parse().unwrap();
    let stand = |expected: [bool; 2], what: &str| {
        bundle.wait_until(what, |bundle| {
            [bundle.pid(), guest].map(|pid| process_state(pid) == Some('T')) == expected
        });
    };
    bundle.ok(&["kill", "{id}", "STOP"]);
    stand([true, false], "standing alone");
    bundle.ok(&["kill", "--all", "{id}", "STOP"]);
    stand([true, true], "standing together");
    bundle.ok(&["kill", "--all", "{id}", "CONT"]);
    stand([false, false], "going on");
    bundle.ok(&["kill", "--all", "{id}", "KILL"]);
    bundle.wait_until_stopped();
    bundle.ok(&["kill", "--all", "{id}", "KILL"]);
    assert!(ended(guest), "it ends with its container");
}

#[test]
fn failures_are_logged() {
    let Some(bundle) = Bundle::new("failures_are_logged") else {
        return;
    };
    let logged = |options: &[&str]| {
        let log = bundle.path("log");
        fs::write(&log, "").unwrap();
        bundle.ok(&[options, &["list"]].concat());
        assert_eq!(fs::read_to_string(&log).unwrap(), "", "success is not told");
        bundle.refused(&[options, &["start", "missing"]].concat());
        let line = fs::read_to_string(&log).unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    };
    let text = logged(&["--log", "log"]);
    assert!(text.starts_with("time=2"), "{text}");
    assert!(
        text.ends_with("level=error msg=\"there is no container `missing`\"\n"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&logged(&["--log=log", "--log-format=json"])).unwrap();
    assert_eq!(json["level"], "error");
    assert_eq!(json["msg"], "there is no container `missing`");
}

#[test]
fn many_at_once_leave_nothing() {
    let Some(first) = Bundle::new("many_at_once_leave_nothing_0") else {
        return;
    };
    drop(first);
    let life = |number: usize| {
        let bundle = Bundle::new(&format!("many_at_once_leave_nothing_{number}")).unwrap();
        let params = ContainerParams {
            cgroups_path: Some(format!("/portolan-test-shared-{}/{}", std::process::id(), bundle.id)),
            ..bundle.params(&["wait"])
        };
        bundle.start(&params);
        bundle.ok(&["kill", "{id}", "KILL"]);
        bundle.wait_until_stopped();
        bundle.ok(&["delete", "{id}"]);
        bundle.assert_gone();
        assert!(ended(bundle.pid()));
    };
    std::thread::scope(|scope| {
        for number in 0..20 {
            scope.spawn(move || life(number));
        }
    });
    for mount in cgroup_mounts() {
        let shared = mount.join(format!("portolan-test-shared-{}", std::process::id()));
        assert!(!shared.exists(), "{} is left", shared.display());
    }
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: kill(2) takes two numbers.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}
