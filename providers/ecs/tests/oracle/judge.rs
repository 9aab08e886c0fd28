//! Asks the oracle.

use std::fs;
use std::process::Command;

use portolan_core::manifest::EcsTarget;
use portolan_core::resource::{ResourceId, Resources, close_references, open_values};
use portolan_provider_ecs::{Kind, update};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::apps::root;

/// Requests that belong together.
#[derive(Serialize)]
pub struct Case {
    pub name: String,
    pub requests: Vec<Request>,
}

#[derive(Serialize)]
pub struct Request {
    pub id: String,
    pub api: String,
    pub operation: String,
    pub request: Value,
}

/// What the oracle says of a case.
#[derive(Debug, Deserialize)]
pub struct Verdict {
    pub name: String,
    model: Vec<String>,
    lint: Vec<String>,
}

impl Verdict {
    pub fn is_taken(&self) -> bool {
        self.model.is_empty() && self.lint.is_empty()
    }
}

impl Case {
    /// Of everything that an app becomes: what makes each, and what changes it.
    pub fn of(name: &str, resources: &Resources) -> Self {
        let mut requests = Vec::new();
        for resource in resources.values() {
            let kind = Kind::of(&resource.id).unwrap();
            let request = closed(&resource.body);
            requests.push(Request::of(&resource.id, kind.api, kind.create, request));
            let is_scaled = resources.keys().any(|id| id.kind == "ScalableTarget");
            if let Some((call, body)) = update(resource, is_scaled) {
                let (api, operation) = call.split_once(':').unwrap();
                requests.push(Request::of(&resource.id, api, operation, closed(&body)));
            }
        }
        Self {
            name: name.to_string(),
            requests,
        }
    }
}

impl Request {
    pub fn of(id: &ResourceId, api: &str, operation: &str, request: Value) -> Self {
        Self {
            id: id.to_string(),
            api: api.to_string(),
            operation: operation.to_string(),
            request,
        }
    }
}

/// With what Amazon would answer in the place of what is open.
pub fn closed(body: &Value) -> Value {
    let body = close_references(body, &|id, output| Some(json!(answered(id, output))));
    assert_eq!(open_values(&body), [], "images of tests are pinned");
    body
}

fn answered(id: &ResourceId, output: &str) -> String {
    let arn = |service: &str, resource: &str| format!("arn:aws:{service}:eu-west-1:123456789012:{resource}");
    let balancing = |resource: &str| arn("elasticloadbalancing", resource);
    match output {
        "taskDefinitionArn" => arn("ecs", &format!("task-definition/{}:1", id.name)),
        "targetGroupArn" => balancing(&format!("targetgroup/{}/0123456789abcdef", id.name)),
        "listenerArn" => balancing("listener/app/edge/0123456789abcdef/0123456789abcdef"),
        "ruleArn" => balancing("listener-rule/app/edge/0123456789abcdef/0123456789abcdef/0123456789abcdef"),
        "accessPointId" => "fsap-0123456789abcdef0".to_string(),
        "arn" => arn("servicediscovery", "service/srv-0123456789abcdef"),
        other => panic!("{id} answers no {other}"),
    }
}

/// `None` where there is no oracle, which is said loudly and is no success.
pub fn judge(test: &str, cases: &[Case]) -> Option<Vec<Verdict>> {
    let python = root().join("target/amazon/oracle/bin/python");
    if !python.exists() {
        println!("SKIP {test}: `tests/amazon/venv oracle` has not been run");
        return None;
    }
    let file = std::env::temp_dir().join(format!("portolan-oracle-{}-{test}.json", std::process::id()));
    fs::write(&file, serde_json::to_string(cases).unwrap()).unwrap();
    let oracle = root().join("tests/amazon/oracle.py");
    let output = Command::new(python).arg(oracle).arg(&file).output().unwrap();
    fs::remove_file(&file).unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the oracle failed: {words}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Settings as a Target has them.
pub fn settings(ecs: &Value) -> EcsTarget {
    serde_json::from_value(ecs.clone()).unwrap_or_else(|error| panic!("{error}: {ecs}"))
}
