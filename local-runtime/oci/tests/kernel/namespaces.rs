//! Namespaces of other processes, joined by path.

use std::fs;
use std::process::Command;

use super::bundle::{Bundle, text};
use portolan_oci::spec::{ContainerParams, Network};

#[test]
fn namespaces_are_joined_by_path() {
    let Some(bundle) = Bundle::new("namespaces_are_joined_by_path") else {
        return;
    };
    let mut holder = Command::new("unshare")
        .args(["-n", "-i", "-u", "-C", "sleep", "100"])
        .spawn()
        .unwrap();
    let of = |kind: &str| format!("/proc/{}/ns/{kind}", holder.id());
    let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let held = |kind: &str| fs::read_link(of(kind)).unwrap();
    while held("cgroup") == own("cgroup") {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let params = ContainerParams {
        network: Network::Path(of("net").into()),
        ..bundle.params(&["ns"])
    };
    bundle.write_changed(&params, |config| {
        for one in config["linux"]["namespaces"].as_array_mut().unwrap() {
            let kind = one["type"].as_str().unwrap().to_owned();
            if ["ipc", "uts", "cgroup"].contains(&kind.as_str()) {
                one["path"] = of(&kind).into();
            }
        }
    });
    let output = bundle.verb(&["run", "{id}"]);
    let seen = text(&output);
    for kind in ["net", "ipc", "uts", "cgroup"] {
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
