//! The node runs pods of an image that the test makes, and they answer through their Service; afterwards nothing of it
//! is left on the machine.

use std::collections::BTreeSet;
use std::path::PathBuf;

use portolan_cluster::image::{Image, compiled};
use portolan_cluster::{Node, leftovers, or_skip};

use crate::{folder_of, until};

/// Two pods that say their own names over HTTP, their Service, and no time to end in: there is nothing to finish.
pub(crate) const WEB: &str = r#"
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

pub(crate) fn import_web(node: &Node) {
    let program = compiled(&folder_of(node.plane()), include_str!("web.c")).unwrap();
    let mut web = Image::new("cluster.test/web:1", &["/web"]);
    node.import(web.file("web", &program)).unwrap();
}

#[test]
fn pods_answer_through_their_service_and_nothing_is_left() {
    let settings = leftovers::settings();
    let test = "pods_answer_through_their_service_and_nothing_is_left";
    if let Some(node) = or_skip(test, Node::start()) {
        answers_and_leaves_nothing(node);
        assert_eq!(leftovers::settings(), settings);
    }
}

/// containerd's shim asks of it what it asks of runc.
#[test]
fn so_they_do_in_containers_of_our_own_runtime() {
    let test = "so_they_do_in_containers_of_our_own_runtime";
    let deps = std::env::current_exe().unwrap();
    let runtime = deps.ancestors().nth(2).unwrap().join("portolan-runtime");
    assert!(runtime.is_file(), "build it with `cargo build --workspace`");
    if let Some(node) = or_skip(test, Node::with_runtime(&runtime)) {
        answers_and_leaves_nothing(node);
    }
}

fn answers_and_leaves_nothing(node: Node) {
    let folder = folder_of(node.plane());
    import_web(&node);
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

    let in_it = node.run("sh", &["-c", "readlink /proc/[0-9]*/ns/net || true"]).unwrap();
    let during: BTreeSet<PathBuf> = in_it.lines().map(PathBuf::from).collect();
    assert!(during.len() >= 3, "the node's and each pod's: {during:?}");
    assert!(leftovers::of(&folder).len() >= 5, "{:?}", leftovers::of(&folder));
    node.stop();
    assert_eq!(leftovers::of(&folder), [""; 0]);
    let left: Vec<PathBuf> = leftovers::networks().intersection(&during).cloned().collect();
    assert!(left.is_empty(), "network namespaces are left: {left:?}");
}
