//! Which pod is meant by a service and, if it is said, a replica.

use portolan_core::plan::Scope;
use portolan_provider_api::CallError;
use serde_json::Value;

use crate::error;
use crate::explain::is_ready;
use crate::names::label;
use crate::read::{is_deleting, text};

/// The replica that is named, as it is or as `logs` shows it; else one that is ready.
pub fn chosen<'a>(
    pods: &'a [Value],
    scope: &Scope,
    service: &str,
    replica: Option<&str>,
) -> Result<&'a Value, CallError> {
    let is_of_it = |pod: &&Value| pod["metadata"]["labels"][label::NAME] == service;
    let replicas: Vec<&Value> = pods.iter().filter(is_of_it).collect();
    if replicas.is_empty() {
        return Err(error::unknown_workload(scope, service));
    }
    let Some(replica) = replica else {
        let ready = replicas.into_iter().find(|pod| is_ready(pod) && !is_deleting(pod));
        return ready.ok_or_else(|| error::none_ready(service));
    };
    let in_logs = replica.strip_prefix(service).and_then(|rest| rest.strip_prefix('-'));
    let is_it = |pod: &&&Value| [Some(replica), in_logs].contains(&Some(name_of(pod)));
    let named = replicas.iter().find(is_it).copied();
    named.ok_or_else(|| {
        let names: Vec<&str> = replicas.iter().map(|pod| name_of(pod)).collect();
        error::unknown_replica(service, replica, &names)
    })
}

pub fn name_of(pod: &Value) -> &str {
    text(pod, "/metadata/name").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_core::name::OwnerId;
    use serde_json::json;

    #[test]
    fn a_ready_replica_is_chosen_or_the_one_that_is_named() {
        let scope = Scope {
            namespace: "default".into(),
            app: "shop".into(),
            target: "prod".into(),
            owner: OwnerId::from_tag("ours"),
            source: "file".into(),
        };
        let pod = |name: &str, service: &str, ready: &str| {
            json!({
                "metadata": { "name": name, "labels": { label::NAME: service } },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] },
            })
        };
        let mut leaving = pod("shop-web-0", "web", "True");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let pods = [
            leaving,
            pod("shop-web-1", "web", "False"),
            pod("shop-web-2", "web", "True"),
            pod("shop-db-0", "db", "False"),
        ];
        for (reason, service, replica, expected) in [
            ("the one that is ready, and stays", "web", None, Ok("shop-web-2")),
            ("the one that is named", "web", Some("shop-web-1"), Ok("shop-web-1")),
            ("as logs show it", "web", Some("web-shop-web-1"), Ok("shop-web-1")),
            ("no such service", "api", None, Err("NotRunning")),
            ("none is ready", "db", None, Err("NotReady")),
            ("another service's", "web", Some("shop-db-0"), Err("NotRunning")),
        ] {
            let told = chosen(&pods, &scope, service, replica).map(name_of);
            if let Err(error) = &told {
                assert!(
                    error.hint.is_some() && !error.message.contains('\n'),
                    "{reason}: {error:?}"
                );
            }
            assert_eq!(
                told.map_err(|error| error.code),
                expected.map_err(String::from),
                "{reason}"
            );
        }
    }
}
