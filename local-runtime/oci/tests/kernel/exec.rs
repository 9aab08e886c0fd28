//! `exec`: what enters a container, with what, and how it ends.

use std::fs;
use std::process::Stdio;

use super::bundle::{Bundle, ended, text};
use portolan_oci::spec::{ContainerParams, User};

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
