//! The control plane does what a test wants of one, and is gone afterwards, however the test has ended.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portolan_cluster::{ControlPlane, Entry, or_skip};

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "nowhere.example/web:1"}]
"#;

/// Processes that were told of a folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let texts = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    texts.filter(|text| text.contains(folder)).collect()
}

fn folder_of(plane: &ControlPlane) -> PathBuf {
    plane.kubeconfig().parent().unwrap().to_path_buf()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn writes_by(plane: &ControlPlane, agent: &str) -> Vec<Entry> {
    let entries = plane.audit().unwrap();
    let by = |entry: &Entry| entry.is_write() && entry.user_agent.starts_with(agent);
    entries.into_iter().filter(by).collect()
}

#[test]
fn a_deployment_gets_ready_and_the_log_tells_who_wrote_it() {
    let test = "a_deployment_gets_ready_and_the_log_tells_who_wrote_it";
    let Some(plane) = or_skip(test, ControlPlane::start()) else {
        return;
    };
    let folder = folder_of(&plane);
    assert!(processes_of(&folder).len() >= 5, "{:?}", processes_of(&folder));

    plane.apply(DEPLOYMENT).unwrap();
    plane
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"])
        .unwrap();
    let ready = ["get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"];
    assert_eq!(plane.kubectl(&ready).unwrap(), "2");

    until("the log has it", || {
        let is_it = |entry: &Entry| (entry.verb.as_str(), entry.name.as_str(), entry.code) == ("patch", "web", 201);
        writes_by(&plane, "kubectl").iter().any(is_it)
    });
    let pods = |entry: &Entry| entry.resource == "pods" && entry.verb == "create" && entry.code == 201;
    let made = writes_by(&plane, "kube-controller-manager");
    assert_eq!(made.iter().filter(|entry| pods(entry)).count(), 2, "{made:#?}");

    plane.stop();
    assert_eq!(processes_of(&folder), [""; 0]);
    assert!(!folder.exists(), "{} is left", folder.display());
}

#[test]
fn a_user_may_do_what_its_role_says() {
    let test = "a_user_may_do_what_its_role_says";
    let Some(plane) = or_skip(test, ControlPlane::with_nodes(0)) else {
        return;
    };
    let kubeconfig = plane.kubeconfig_of("reader", None).unwrap();
    let ask = |verb: &str| {
        let kubeconfig = kubeconfig.to_str().unwrap();
        plane.kubectl(&["--kubeconfig", kubeconfig, "auth", "can-i", verb, "pods"])
    };
    assert!(ask("list").is_err(), "nobody gave it a role");
    plane
        .kubectl(&[
            "create",
            "clusterrolebinding",
            "reader",
            "--clusterrole=view",
            "--user=reader",
        ])
        .unwrap();
    until("the role is known", || ask("list").is_ok());
    assert!(ask("delete").is_err(), "`view` is to look");
}

#[test]
fn a_killed_test_leaves_nothing() {
    let test = "a_killed_test_leaves_nothing";
    if or_skip(test, ControlPlane::with_nodes(0)).is_none() {
        return;
    }
    let this = std::env::current_exe().unwrap();
    let mut child = Command::new(&this)
        .args([
            "--ignored",
            "--exact",
            "child_that_holds_a_cluster_until_killed",
            "--nocapture",
        ])
        .env("PORTOLAN_TEST_CLUSTER_CHILD", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = lines
        .map(Result::unwrap)
        .find_map(|line| Some(line.split_once("begun ")?.1.to_string()));
    let folder = PathBuf::from(begun.unwrap());
    assert!(processes_of(&folder).len() >= 5, "{:?}", processes_of(&folder));
    child.kill().unwrap();
    child.wait().unwrap();
    until("its processes and its files are gone", || {
        processes_of(&folder).is_empty() && !folder.exists()
    });
}

#[test]
#[ignore = "the process that a_killed_test_leaves_nothing starts and kills"]
fn child_that_holds_a_cluster_until_killed() {
    if std::env::var_os("PORTOLAN_TEST_CLUSTER_CHILD").is_none() {
        return;
    }
    let plane = ControlPlane::start().unwrap();
    println!("begun {}", folder_of(&plane).display());
    std::thread::sleep(Duration::from_secs(600));
}
