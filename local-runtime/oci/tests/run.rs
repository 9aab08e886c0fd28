//! Real containers on this kernel: what the process inside sees, what comes back, and what the host keeps.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

#[path = "support/bundle.rs"]
mod bundle;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bundle::{Bundle, text};
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
fn writes_go_to_the_upper_folder_or_nowhere() {
    let Some(bundle) = Bundle::new("writes_go_to_the_upper_folder_or_nowhere") else {
        return;
    };
    assert!(bundle.run(&bundle.params(&["write", "/made"])).status.success());
    assert!(bundle.path("upper/made").is_file() && !bundle.path("layer/made").exists());
    let read_only = ContainerParams {
        writable: None,
        lower: vec![bundle.path("layer"), bundle.path("upper")],
        ..bundle.params(&["write", "/other"])
    };
    let output = bundle.run(&read_only);
    assert!(text(&output).contains("Read-only file system"), "{}", text(&output));
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
fn links_of_an_image_lead_nowhere() {
    for name in ["dev", "proc", "sys"] {
        let Some(bundle) = Bundle::new("links_of_an_image_lead_nowhere") else {
            return;
        };
        let canary = bundle.path("canary");
        fs::create_dir(&canary).unwrap();
        symlink(&canary, bundle.path("layer").join(name)).unwrap();
        let output = bundle.run(&bundle.params(&[]));
        assert_eq!(output.status.code(), Some(125), "{name}: {}", text(&output));
        assert!(
            text(&output).contains("other than a plain folder"),
            "{name}: {}",
            text(&output)
        );
        assert_eq!(entries(&canary), 0, "{name}: nothing was made on the host");
    }
}

#[test]
fn a_working_directory_behind_a_descriptor_is_refused() {
    let Some(bundle) = Bundle::new("a_working_directory_behind_a_descriptor_is_refused") else {
        return;
    };
    for number in 3..12 {
        let params = ContainerParams {
            working_dir: format!("/proc/self/fd/{number}"),
            ..bundle.params(&[])
        };
        let output = bundle.run(&params);
        assert_eq!(
            output.status.code(),
            Some(125),
            "descriptor {number}: {}",
            text(&output)
        );
    }
}

#[test]
fn what_is_not_supported_is_refused() {
    let Some(bundle) = Bundle::new("what_is_not_supported_is_refused") else {
        return;
    };
    let cases = [
        ("/hooks", json!({"prestart": [{"path": "/bin/true"}]}), "`hooks`"),
        ("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}), "`linux.sysctl`"),
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

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}
