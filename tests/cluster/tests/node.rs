//! The node runs pods of an image that the test makes, and they answer through their Service; afterwards nothing of it
//! is left on the machine.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portolan_cluster::image::{Image, compiled};
use portolan_cluster::{Node, or_skip};

/// Two pods that say their own names over HTTP, their Service, and no time to end in: there is nothing to finish.
const WEB: &str = r#"
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
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: cluster.test/web:1
        imagePullPolicy: Never
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        resources: {limits: {memory: 64Mi, cpu: 500m}}
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"#;

/// Settings of the whole machine that a kubelet or a CNI plugin would change.
const SETTINGS: &[&str] = &[
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "vm/overcommit_memory",
    "net/ipv4/ip_forward",
];

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn settings() -> Vec<String> {
    let read = |name: &&str| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap();
    SETTINGS.iter().map(read).collect()
}

/// Network namespaces in which a process of this machine is.
fn networks() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path().join("ns/net")).ok())
        .collect()
}

/// Processes, cgroups and mounts that have the cluster's name, wherever it is said.
fn named(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let texts = ["cmdline", "cgroup"].map(|file| fs::read(entry.path().join(file)).unwrap_or_default());
        let texts = texts.map(|text| String::from_utf8_lossy(&text).replace('\0', " "));
        found.extend(texts.into_iter().filter(|text| text.contains(name)));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(name)).map(String::from));
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let cgroups = hierarchies
        .map(|entry| entry.path().join(name))
        .filter(|path| path.exists());
    found.extend(cgroups.map(|path| path.display().to_string()));
    found
}

#[test]
fn pods_answer_through_their_service_and_nothing_is_left() {
    let test = "pods_answer_through_their_service_and_nothing_is_left";
    let (settings_before, networks_before) = (settings(), networks());
    let Some(node) = or_skip(test, Node::start()) else {
        return;
    };
    let folder = node.plane().kubeconfig().parent().unwrap().to_path_buf();
    let name = folder.file_name().unwrap().to_str().unwrap();
    let mut web = Image::new("cluster.test/web:1", &["/web"]);
    web.file("web", &compiled(&folder, include_str!("web.c")).unwrap());
    node.import(&web).unwrap();
    node.plane().apply(WEB).unwrap();
    let done = ["rollout", "status", "deployment/web", "--timeout=60s"];
    node.plane().kubectl(&done).unwrap();

    let of_service = ["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"];
    let address = node.plane().kubectl(&of_service).unwrap();
    let url = format!("http://{address}/");
    let mut names = BTreeSet::new();
    until("each pod has answered", || {
        let answer = node
            .run("curl", &["--silent", "--fail", "--max-time", "2", &url])
            .ok()?;
        names.insert(answer.trim().to_string());
        (names.len() == 2).then_some(())
    });
    assert!(names.iter().all(|name| name.starts_with("web-")), "{names:?}");
    // From a pod, by the Service's name, whichever of the two it meets.
    let from_pod = [
        "exec",
        "deployment/web",
        "--",
        "/web",
        "ask",
        "web.default.svc.cluster.local",
        "80",
    ];
    for _ in 0..8 {
        let answer = until("a pod has asked the Service", || node.plane().kubectl(&from_pod).ok());
        assert!(names.contains(answer.trim()), "{answer}");
    }

    let of_ours = |network: &PathBuf| !networks_before.contains(network);
    let during: BTreeSet<PathBuf> = networks().into_iter().filter(of_ours).collect();
    assert!(during.len() >= 3, "the node's and each pod's: {during:?}");
    assert!(!named(name).is_empty());
    node.stop();
    assert_eq!(named(name), [""; 0]);
    assert!(!folder.exists(), "{} is left", folder.display());
    let left: Vec<PathBuf> = networks().intersection(&during).cloned().collect();
    assert!(left.is_empty(), "network namespaces are left: {left:?}");
    assert_eq!(settings(), settings_before);
}
