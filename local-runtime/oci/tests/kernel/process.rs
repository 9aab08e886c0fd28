//! The process in a container: what it holds, what it sees, and what its configuration may not ask.

use std::fs;
use std::os::unix::process::CommandExt;

use super::bundle::{Bundle, text};
use portolan_oci::spec::{ContainerParams, User, annotation};
use serde_json::{Value, json};

#[test]
fn the_process_sees_a_closed_world() {
    let Some(bundle) = Bundle::new("the_process_sees_a_closed_world") else {
        return;
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let output = bundle.run(&bundle.params(&[]));
    let seen = text(&output);
    assert!(output.status.success(), "{seen}");
    for (line, reason) in [
        ("pid 1 uid 0 gid 0 host harbour cwd /", "namespaces of its own"),
        ("CapInh:\t0000000000000000", "nothing to inherit"),
        ("CapEff:\t00000000a80425fb", "the documented default capabilities"),
        ("CapBnd:\t00000000a80425fb", "and none beyond them"),
        ("CapAmb:\t0000000000000000", "nothing ambient"),
        ("NoNewPrivs:\t1", "no way to more"),
        ("Seccomp:\t2", "a filter is on"),
        ("extra descriptors 0", "only the three standard streams"),
        ("/proc/timer_list: empty", "masked by the null device"),
        ("proc/sys read-only", "settings of the kernel cannot be written"),
        ("null 1", "devices are there"),
    ] {
        assert!(seen.contains(line), "{reason}: no `{line}` in\n{seen}");
    }
    assert_eq!(
        fs::read_to_string("/proc/self/mountinfo").unwrap(),
        mounts,
        "no mount shows on the host"
    );
}

#[test]
fn another_user_holds_no_capability() {
    let Some(bundle) = Bundle::new("another_user_holds_no_capability") else {
        return;
    };
    let user = User {
        uid: 1000,
        gid: 1001,
        additional_gids: vec![],
    };
    let seen = text(&bundle.run(&ContainerParams {
        user,
        ..bundle.params(&[])
    }));
    assert!(
        seen.contains("uid 1000 gid 1001") && seen.contains("CapEff:\t0000000000000000"),
        "{seen}"
    );
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
fn limits_of_the_process_are_set() {
    let Some(bundle) = Bundle::new("limits_of_the_process_are_set") else {
        return;
    };
    let see = |file: &str| {
        bundle.write_changed(&bundle.params(&["cat", file]), |config| {
            config["process"]["rlimits"] = json!([
                {"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            ]);
            config["process"]["oomScoreAdj"] = json!(500);
        });
        let seen = bundle.ok(&["run", "{id}"]);
        seen.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let limits = see("/proc/self/limits");
    for limit in ["Max open files 64 128", "Max core file size 0 0"] {
        assert!(limits.contains(limit), "no `{limit}` in {limits}");
    }
    assert_eq!(see("/proc/self/oom_score_adj"), "500");
}

#[test]
fn a_bundle_brings_its_own_filter_or_takes_the_default() {
    let Some(bundle) = Bundle::new("a_bundle_brings_its_own_filter_or_takes_the_default") else {
        return;
    };
    let bring = |config: &mut Value, with_annotation: bool| {
        let refused = json!({"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV});
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]});
        let annotations = config["annotations"].as_object_mut().unwrap();
        annotations.retain(|name, _| with_annotation || name != annotation::SECCOMP);
    };
    bundle.write_changed(&bundle.params(&[]), |config| bring(config, false));
    let seen = bundle.ok(&["run", "{id}"]);
    assert!(seen.contains("Seccomp:\t2") && seen.contains("cwd \n"), "{seen}");
    bundle.write_changed(&bundle.params(&[]), |config| bring(config, true));
    let said = bundle.refused(&["run", "{id}"]);
    assert!(said.contains("two filters for one container"), "{said}");
}

#[test]
fn settings_of_its_own_namespaces_are_set() {
    let Some(bundle) = Bundle::new("settings_of_its_own_namespaces_are_set") else {
        return;
    };
    for (name, file) in [
        (
            "net.ipv4.ip_unprivileged_port_start",
            "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        ),
        (
            "net/ipv4/conf/lo/accept_redirects",
            "/proc/sys/net/ipv4/conf/lo/accept_redirects",
        ),
        ("kernel.msgmax", "/proc/sys/kernel/msgmax"),
    ] {
        let before = fs::read_to_string(file).unwrap();
        bundle.write_changed(&bundle.params(&["cat", file]), |config| {
            config["linux"]["sysctl"] = json!({name: "0"})
        });
        assert_eq!(bundle.ok(&["run", "{id}"]), "0\n", "{name}");
        assert_eq!(fs::read_to_string(file).unwrap(), before, "{name}: the host's");
    }
    bundle.write_changed(&bundle.params(&[]), |config| {
        config["linux"]["sysctl"] = json!({"net.ipv4.no_such": "0"})
    });
    let said = bundle.refused(&["run", "{id}"]);
    assert!(said.contains("cannot find the setting net.ipv4.no_such"), "{said}");
}

#[test]
fn devices_are_made_as_they_are_named() {
    let Some(bundle) = Bundle::new("devices_are_made_as_they_are_named") else {
        return;
    };
    let fuse =
        json!({"path": "/dev/net/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 5, "gid": 6});
    let pipe = json!({"path": "/run/pipe", "type": "p"});
    let null = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3});
    let other = json!({"path": "/dev/null", "type": "b", "major": 1, "minor": 3});
    for (device, path, expected) in [
        (fuse, "/dev/net/fuse", "20640 10:229 of 5:6\n"),
        (pipe, "/run/pipe", "10666 0:0 of 0:0\n"),
        (null, "/dev/null", "20666 1:3 of 0:0\n"),
        (
            other,
            "/dev/null",
            "portolan-runtime: the device /dev/null is something else already\n",
        ),
    ] {
        bundle.write_changed(&bundle.params(&["look", path]), |config| {
            config["linux"]["devices"] = json!([device])
        });
        assert_eq!(text(&bundle.verb(&["run", "{id}"])), expected, "{path}");
    }
}

#[test]
fn what_is_not_supported_is_refused() {
    let Some(bundle) = Bundle::new("what_is_not_supported_is_refused") else {
        return;
    };
    let cases = [
        ("/hooks", json!({"prestart": [{"path": "/bin/true"}]}), "`hooks`"),
        (
            "/linux/sysctl",
            json!({"kernel.ngroups_max": "1"}),
            "the setting `kernel.ngroups_max`, which is not the container's own,",
        ),
        (
            "/linux/personality",
            json!({"domain": "LINUX32"}),
            "`linux.personality`",
        ),
        (
            "/linux/rootfsPropagation",
            json!("shared"),
            "`linux.rootfsPropagation` other than private",
        ),
        ("/process/apparmorProfile", json!("web"), "`process.apparmorProfile`"),
        (
            "/mounts/0/destination",
            json!("/proc/self/attr"),
            "a mount on /proc/self/attr",
        ),
        (
            "/annotations/dev.portolan.seccomp",
            json!("none"),
            "the annotation `dev.portolan.seccomp` with the value `none`",
        ),
    ];
    for (place, value, what) in cases {
        bundle.write_changed(&bundle.params(&[]), |config| {
            let (parent, name) = place.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap()[name] = value;
        });
        let output = bundle.verb(&["run", "{id}"]);
        assert_eq!(output.status.code(), Some(125), "{place}: {}", text(&output));
        assert!(
            text(&output).contains(&format!("{what} is not supported")),
            "{place}: {}",
            text(&output)
        );
        bundle.assert_gone();
    }
}
