//! The node runs pods of an image that the test makes, and they answer through their Service; afterwards nothing of it
//! is left on the machine.

use std::collections::BTreeSet;
use std::path::PathBuf;

use portolan_cluster::image::{Image, compiled};
use portolan_cluster::{Node, or_skip};

use crate::{folder_of, leftovers, until};

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
    let test = "pods_answer_through_their_service_and_nothing_is_left";
    let (settings_before, networks_before) = (leftovers::settings(), leftovers::networks());
    let Some(node) = or_skip(test, Node::start()) else {
        return;
    };
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

    let of_ours = |network: &PathBuf| !networks_before.contains(network);
    let during: BTreeSet<PathBuf> = leftovers::networks().into_iter().filter(of_ours).collect();
    assert!(during.len() >= 3, "the node's and each pod's: {during:?}");
    assert!(leftovers::of(&folder).len() >= 5, "{:?}", leftovers::of(&folder));
    node.stop();
    assert_eq!(leftovers::of(&folder), [""; 0]);
    let left: Vec<PathBuf> = leftovers::networks().intersection(&during).cloned().collect();
    assert!(left.is_empty(), "network namespaces are left: {left:?}");
    assert_eq!(leftovers::settings(), settings_before);
}
