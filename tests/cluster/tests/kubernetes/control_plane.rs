//! The control plane: its controllers act, its log tells who wrote what, its users may do what their roles say.

use portolan_cluster::{ControlPlane, Entry, leftovers, or_skip};

use crate::{folder_of, until};

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
    assert!(leftovers::of(&folder).len() >= 5, "{:?}", leftovers::of(&folder));

    plane.apply(DEPLOYMENT).unwrap();
    plane
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"])
        .unwrap();
    let ready = ["get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"];
    assert_eq!(plane.kubectl(&ready).unwrap(), "2");

    until("the log has it", || {
        let is_it = |entry: &Entry| (entry.verb.as_str(), entry.name.as_str(), entry.code) == ("patch", "web", 201);
        writes_by(&plane, "kubectl").iter().any(is_it).then_some(())
    });
    let pods = |entry: &Entry| entry.resource == "pods" && entry.verb == "create" && entry.code == 201;
    let made = writes_by(&plane, "kube-controller-manager");
    assert_eq!(made.iter().filter(|entry| pods(entry)).count(), 2, "{made:#?}");

    plane.stop();
    assert_eq!(leftovers::of(&folder), [""; 0]);
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
    until("the role is known", || ask("list").ok());
    assert!(ask("delete").is_err(), "`view` is to look");
}
