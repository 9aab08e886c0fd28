//! A pod that waits for a KubeSecret which an ExternalSecret is to make: what that says is the cause, and where it says nothing
//! against it there is only to wait. Pure.

use serde_json::{Value, json};

use super::said;
use crate::read::{items, text};

/// A kubelet's word for a container that lacks a secret, or a key of it.
const LACKS: &str = "CreateContainerConfigError";
/// And ours, where it will be there.
pub const COMES: &str = "its secret comes";

/// Has the containers that wait for one say what becomes of it.
pub fn tell(pod: &mut Value, external_secrets: &[&Value]) {
    for statuses in ["initContainerStatuses", "containerStatuses"] {
        let statuses = pod.pointer_mut(&format!("/status/{statuses}"));
        for container in statuses.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(waiting) = container.pointer_mut("/state/waiting") {
                tell_why(waiting, external_secrets);
            }
        }
    }
}

fn tell_why(waiting: &mut Value, external_secrets: &[&Value]) {
    let lacking = text(waiting, "/reason") == Some(LACKS);
    let Some(message) = text(waiting, "/message").filter(|_| lacking).map(String::from) else {
        return;
    };
    let Some(maker) = external_secrets.iter().find(|one| is_about(&message, one)) else {
        return;
    };
    let mut conditions = items(maker, "/status/conditions");
    let refusal = conditions.find(|one| one["type"] == "Ready" && one["status"] == "False");
    match refusal {
        Some(refusal) => waiting["message"] = json!(format!("{message}: its ExternalSecret says {}", said(refusal))),
        None => waiting["reason"] = json!(COMES),
    }
}

/// `secret "NAME" not found`, `couldn't find key KEY in Secret NAMESPACE/NAME`.
fn is_about(message: &str, external_secret: &Value) -> bool {
    let name = text(external_secret, "/metadata/name").unwrap_or_default();
    message.contains(&format!("\"{name}\"")) || message.ends_with(&format!("/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Pods;

    /// The failure, or what it waits for, of a pod whose container says so.
    fn told(message: &str, condition: Value) -> String {
        let labels = json!({ "app.kubernetes.io/instance": "web", "portolan.dev/revision": "r1" });
        let waiting = json!({ "reason": LACKS, "message": message });
        let mut pod = json!({ "metadata": { "labels": labels }, "status": { "containerStatuses": [
            { "name": "web", "state": { "waiting": waiting } }, { "name": "proxy", "state": { "running": {} } },
        ] } });
        let maker = json!({ "metadata": { "name": "token" }, "status": { "conditions": [condition] } });
        tell(&mut pod, &[&maker]);
        let pods = [pod];
        let workload = json!({ "spec": { "template": { "metadata": { "labels": labels } } } });
        let pods = Pods::of(&pods, &workload);
        match (pods.trouble(), pods.waits()) {
            (Some(trouble), _) => format!("{}: {}", trouble.failure.reason, trouble.failure.message),
            (None, waits) => format!("waits: {}", waits.unwrap_or_default()),
        }
    }

    #[test]
    fn what_an_external_secret_says_is_the_cause() {
        let ready = |status: &str| json!({ "type": "Ready", "status": status, "reason": "SecretSyncedError", "message": "no key\nprod/token" });
        let missing = "secret \"token\" not found";
        for (reason, message, condition, expected) in [
            (
                "it cannot be filled",
                missing,
                ready("False"),
                "ConfigurationMissing: container `web`: secret \"token\" not found: its ExternalSecret says \
                 SecretSyncedError: no key prod/token",
            ),
            (
                "a key of it is not there",
                "couldn't find key key in Secret team/token",
                ready("False"),
                "ConfigurationMissing: container `web`: couldn't find key key in Secret team/token: its ExternalSecret says \
                 SecretSyncedError: no key prod/token",
            ),
            (
                "it is filled",
                missing,
                ready("True"),
                "waits: container `web`: secret \"token\" not found",
            ),
            (
                "nobody has filled it yet",
                missing,
                json!({}),
                "waits: container `web`: secret \"token\" not found",
            ),
            (
                "another secret",
                "secret \"admin\" not found",
                ready("False"),
                "ConfigurationMissing: container `web`: secret \"admin\" not found",
            ),
        ] {
            assert_eq!(told(message, condition), expected, "{reason}");
        }
    }
}
