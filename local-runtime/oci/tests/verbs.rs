//! The verbs on real containers: what each does, and what it refuses.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

#[path = "support/bundle.rs"]
mod bundle;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use bundle::{Bundle, text};
use portolan_oci::spec::{BindMount, ContainerParams, Network, User};

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
fn namespaces_are_joined_by_path() {
    let Some(bundle) = Bundle::new("namespaces_are_joined_by_path") else {
        return;
    };
    let mut holder = Command::new("unshare")
        .args(["-n", "-i", "-u", "sleep", "100"])
        .spawn()
        .unwrap();
    let of = |kind: &str| format!("/proc/{}/ns/{kind}", holder.id());
    let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let held = |kind: &str| fs::read_link(of(kind)).unwrap();
    while held("uts") == own("uts") {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let params = ContainerParams {
        network: Network::Path(of("net").into()),
        ..bundle.params(&["ns"])
    };
    bundle.write_changed(&params, |config| {
        for one in config["linux"]["namespaces"].as_array_mut().unwrap() {
            let kind = one["type"].as_str().unwrap().to_owned();
            if ["ipc", "uts"].contains(&kind.as_str()) {
                one["path"] = of(&kind).into();
            }
        }
    });
    let output = bundle.verb(&["run", "{id}"]);
    let seen = text(&output);
    for kind in ["net", "ipc", "uts"] {
        assert!(
            seen.contains(held(kind).to_str().unwrap()),
            "{kind} is not joined: {seen}"
        );
    }
    assert!(
        !seen.contains(own("pid").to_str().unwrap()),
        "the pid namespace is new: {seen}"
    );
    bundle.write_changed(&params, |config| {
        for one in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if one["type"] == "network" {
                one["path"] = of("ipc").into();
            }
        }
    });
    let said = bundle.refused(&["run", "{id}"]);
    assert!(said.contains("is no net"), "{said}");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_pid_namespace_is_shared() {
    let Some(bundle) = Bundle::new("a_pid_namespace_is_shared") else {
        return;
    };
    bundle.start(&bundle.params(&["wait"]));
    let Some(second) = Bundle::new("a_pid_namespace_is_shared_2") else {
        return;
    };
    second.write_changed(&second.params(&[]), |config| {
        let path = format!("/proc/{}/ns/pid", bundle.pid());
        config["linux"]["namespaces"][0] = serde_json::json!({"type": "pid", "path": path});
    });
    let seen = text(&second.verb(&["run", "{id}"]));
    assert!(seen.contains("pid 2 "), "the second process of the namespace: {seen}");
}

#[test]
fn files_and_folders_of_the_host_are_bound() {
    let Some(bundle) = Bundle::new("files_and_folders_of_the_host_are_bound") else {
        return;
    };
    fs::create_dir(bundle.path("volume")).unwrap();
    fs::write(bundle.path("hosts"), "10.0.0.1 catalog\n").unwrap();
    let bind = |source: &str, destination: &str, read_only| BindMount {
        source: bundle.path(source),
        destination: destination.into(),
        read_only,
    };
    let mounts = vec![bind("hosts", "/etc/hosts", true), bind("volume", "/data/deep", false)];
    let with = |arguments: &[&str]| ContainerParams {
        mounts: mounts.clone(),
        ..bundle.params(arguments)
    };
    assert_eq!(text(&bundle.run(&with(&["cat", "/etc/hosts"]))), "10.0.0.1 catalog\n");
    assert!(text(&bundle.run(&with(&["write", "/etc/hosts"]))).contains("Read-only"));
    assert!(bundle.run(&with(&["write", "/data/deep/kept"])).status.success());
    assert!(bundle.path("volume/kept").is_file());
}

#[test]
fn a_mount_point_behind_a_link_is_refused() {
    let Some(bundle) = Bundle::new("a_mount_point_behind_a_link_is_refused") else {
        return;
    };
    for name in ["canary", "volume"] {
        fs::create_dir(bundle.path(name)).unwrap();
    }
    std::os::unix::fs::symlink(bundle.path("canary"), bundle.path("layer/data")).unwrap();
    let mount = BindMount {
        source: bundle.path("volume"),
        destination: "/data/new".into(),
        read_only: false,
    };
    let output = bundle.run(&ContainerParams {
        mounts: vec![mount],
        ..bundle.params(&[])
    });
    assert_eq!(output.status.code(), Some(125), "{}", text(&output));
    assert_eq!(fs::read_dir(bundle.path("canary")).unwrap().count(), 0);
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
fn a_container_inherits_no_signal_setting() {
    let Some(bundle) = Bundle::new("a_container_inherits_no_signal_setting") else {
        return;
    };
    bundle.write(&bundle.params(&[]));
    let mut command = bundle.command(&["run", "{id}"]);
    // SAFETY: signal(2) alone, between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_IGN);
            Ok(())
        })
    };
    let seen = text(&command.output().unwrap());
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(seen.contains(line), "no `{line}` in {seen}");
    }
}

#[test]
fn exec_enters_the_container() {
    let Some(bundle) = Bundle::new("exec_enters_the_container") else {
        return;
    };
    bundle.start(&bundle.params(&["wait"]));
    let inside = bundle.ok(&["exec", "{id}", "/bin/see", "ns"]);
    for kind in ["net", "pid", "ipc", "uts", "mnt", "cgroup"] {
        let of = fs::read_link(format!("/proc/{}/ns/{kind}", bundle.pid())).unwrap();
        assert!(inside.contains(of.to_str().unwrap()), "{kind}: {inside}");
    }
    let seen = bundle.ok(&["exec", "--cwd", "/bin", "{id}", "--", "see"]);
    for line in [
        "uid 0 gid 0 host harbour cwd /bin",
        "CapEff:\t00000000a80425fb",
        "CapInh:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "extra descriptors 0",
        "SigBlk:\t0000000000000000",
    ] {
        assert!(seen.contains(line), "no `{line}` in {seen}");
    }
    assert_eq!(
        bundle.ok(&["exec", "--env", "A=1", "--env=PATH=/bin", "{id}", "see", "env"]),
        "A=1\nPATH=/bin\n"
    );
    assert_eq!(
        bundle.verb(&["exec", "{id}", "see", "exit", "9"]).status.code(),
        Some(9)
    );
    assert_eq!(
        bundle.verb(&["exec", "{id}", "see", "die", "9"]).status.code(),
        Some(137)
    );
    let missing = bundle.verb(&["exec", "{id}", "nothing"]);
    assert_eq!(missing.status.code(), Some(125));
    assert!(
        text(&missing).contains("`nothing` is no executable file"),
        "{}",
        text(&missing)
    );
    bundle.ok(&["kill", "{id}"]);
    bundle.wait_until_stopped();
    assert!(bundle.refused(&["exec", "{id}", "see"]).contains("is stopped"));
}

#[test]
fn exec_as_another_user_holds_nothing() {
    let Some(bundle) = Bundle::new("exec_as_another_user_holds_nothing") else {
        return;
    };
    bundle.start(&ContainerParams {
        user: User {
            additional_gids: vec![5],
            ..User::default()
        },
        ..bundle.params(&["wait"])
    });
    let seen = bundle.ok(&["exec", "--user", "1000:1001", "{id}", "see"]);
    for line in [
        "uid 1000 gid 1001",
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapInh:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "Groups:\t \n",
    ] {
        assert!(seen.contains(line), "no `{line}` in {seen}");
    }
}

#[test]
fn exec_takes_a_process_file_and_detaches() {
    let Some(bundle) = Bundle::new("exec_takes_a_process_file_and_detaches") else {
        return;
    };
    bundle.start(&bundle.params(&["wait"]));
    let process =
        serde_json::json!({"user": {"uid": 7, "gid": 8}, "cwd": "/", "args": ["/bin/see", "wait"], "env": []});
    fs::write(bundle.path("process.json"), process.to_string()).unwrap();
    let mut command = bundle.command(&[
        "exec",
        "--process",
        "process.json",
        "--pid-file",
        "guest",
        "--detach",
        "{id}",
    ]);
    let status = command.stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
    let guest: u32 = fs::read_to_string(bundle.path("guest")).unwrap().parse().unwrap();
    let status = fs::read_to_string(format!("/proc/{guest}/status")).unwrap();
    assert!(status.contains("Uid:\t7\t7\t7\t7"), "{status}");
    bundle.ok(&["delete", "--force", "{id}"]);
    assert!(ended(guest), "it ends with its container");
    bundle.assert_gone();
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
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for point in mounts
        .lines()
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| line.split(' ').nth(4))
    {
        let shared = Path::new(point).join(format!("portolan-test-shared-{}", std::process::id()));
        assert!(!shared.exists(), "{} is left", shared.display());
    }
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: kill(2) takes two numbers.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

/// Whether a process is gone, or waits for its parent to take note.
fn ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
    })
}
