//! What the API server was asked, by whom, and what it answered: its audit log, request by request.
//!
//! The policy leaves out what Kubernetes' own parts read, which would be most of it, and questions after the server's
//! health. Bodies are not kept.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// One request. An entry is there a moment after its answer; a watch is told when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it came, as the server writes it: `2026-11-26T19:09:44.123456Z`. Later ones compare greater.
    pub at: String,
    pub user: String,
    pub user_agent: String,
    /// `create`, `get`, `list`, `watch`, `patch`, `update`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group; the core group's is empty.
    pub group: String,
    /// `deployments`, with a subresource `deployments/status`.
    pub resource: String,
    /// Empty where the object has none.
    pub namespace: String,
    /// Empty in a list, and in a create that leaves the name to the server.
    pub name: String,
    /// Path and query as they were sent, with `fieldManager` in it.
    pub uri: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

impl Entry {
    /// Whether it was to change something, whatever the answer.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether it was about the holder of a lease, which a controller renews for as long as it lives.
    pub fn is_lease(&self) -> bool {
        self.group == "coordination.k8s.io"
    }
}

/// The API server's audit policy.
pub(crate) fn policy() -> Value {
    let own = [
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "kwok",
    ];
    let reads = json!(["get", "list", "watch"]);
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "users": own, "verbs": reads},
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system", "system:nodes"], "verbs": reads},
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version"]},
            {"level": "Metadata"},
        ],
    })
}

/// Entries of a log, as far as its last whole line.
pub(crate) fn entries(log: &str) -> Vec<Entry> {
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let mut seen = BTreeSet::new();
    whole
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        // A watch has two events, one when it is answered and one when it ends.
        .filter(|event: &Value| seen.insert(text(&event["auditID"])))
        .map(|event| entry(&event))
        .collect()
}

fn entry(event: &Value) -> Entry {
    let object = &event["objectRef"];
    let subresource = text(&object["subresource"]);
    let resource = text(&object["resource"]);
    Entry {
        at: text(&event["requestReceivedTimestamp"]),
        user: text(&event["user"]["username"]),
        user_agent: text(&event["userAgent"]),
        verb: text(&event["verb"]),
        group: text(&object["apiGroup"]),
        resource: match subresource.is_empty() {
            true => resource,
            false => format!("{resource}/{subresource}"),
        },
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        uri: text(&event["requestURI"]),
        code: event["responseStatus"]["code"]
            .as_u64()
            .and_then(|code| code.try_into().ok())
            .unwrap_or_default(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_told_once_and_half_a_line_not_yet() {
        let event = |id: &str, stage: &str, verb: &str| {
            json!({
                "auditID": id,
                "stage": stage,
                "verb": verb,
                "user": {"username": "admin"},
                "objectRef": {"apiGroup": "apps", "resource": "deployments", "subresource": "status", "name": "web"},
                "responseStatus": {"code": 200},
            })
            .to_string()
        };
        let log = [
            event("1", "ResponseStarted", "watch"),
            event("2", "ResponseComplete", "patch"),
            event("1", "ResponseComplete", "watch"),
            event("3", "ResponseComplete", "delete"),
        ]
        .join("\n");
        let entries = entries(&log);
        let verbs: Vec<&str> = entries.iter().map(|entry| entry.verb.as_str()).collect();
        assert_eq!(verbs, ["watch", "patch"]);
        assert_eq!(
            (entries[1].resource.as_str(), entries[1].code),
            ("deployments/status", 200)
        );
        assert!(entries[1].is_write() && !entries[0].is_write());
    }
}
