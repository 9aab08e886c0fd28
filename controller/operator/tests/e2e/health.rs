//! What Argo CD and Flux make of an App: the first by the script that is shipped, the other by kstatus.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::world::{World, app, until};

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/argocd/health.lua")
}

/// Whether there is an interpreter of the language that Argo CD's scripts are in.
fn has_lua(test: &str) -> bool {
    let found = Command::new("lua5.1").arg("-v").stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("SKIP {test}: lua5.1 is not installed");
    }
    found
}

/// Argo CD's word for an object, and what it says.
fn argo(object: &Value) -> (String, String) {
    let program = format!(
        "obj = {}\nlocal health = dofile({})\nprint(health.status)\nprint(health.message)\n",
        lua(object),
        lua(&json!(script().to_str().unwrap()))
    );
    let mut child = Command::new("lua5.1")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{object:#}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (status, message) = text.split_once('\n').unwrap();
    (status.to_string(), message.trim_end().to_string())
}

/// A value as Lua writes it; null is no entry, as Argo CD has it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => {
            let bytes = text.bytes().map(|byte| format!("\\{byte:03}"));
            format!("\"{}\"", bytes.collect::<String>())
        }
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| format!("[{}] = {}", lua(&json!(key)), lua(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What kstatus, by which Flux waits, makes of an object of a kind that it does not know.
fn kstatus(object: &Value) -> &'static str {
    let condition = |kind: &str| {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let mut of_kind = conditions.filter(|one| one["type"] == kind);
        of_kind.next().and_then(|one| one["status"].as_str())
    };
    let observed = &object["status"]["observedGeneration"];
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating";
    }
    if !observed.is_null() && *observed != object["metadata"]["generation"] {
        return "InProgress";
    }
    match (condition("Reconciling"), condition("Stalled"), condition("Ready")) {
        (Some("True"), _, _) => "InProgress",
        (_, Some("True"), _) => "Failed",
        (_, _, Some("False" | "Unknown")) => "InProgress",
        _ => "Current",
    }
}

fn told(conditions: &[(&str, &str, &str, &str)]) -> Value {
    let conditions = conditions
        .iter()
        .map(|(kind, status, reason, message)| json!({ "type": kind, "status": status, "reason": reason, "message": message }));
    json!({
        "metadata": { "generation": 2 },
        "status": { "observedGeneration": 2, "conditions": conditions.collect::<Vec<_>>() },
    })
}

#[test]
fn argo_cd_and_flux_see_each_phase_of_an_app() {
    if !has_lua("argo_cd_and_flux_see_each_phase_of_an_app") {
        return;
    }
    let ready = ("Ready", "True", "Ready", "2 of 2 ready");
    let unready = |reason, message| ("Ready", "False", reason, message);
    let (settled, not_held) = (
        ("Reconciling", "False", "Settled", ""),
        ("Stalled", "False", "NotHeld", ""),
    );
    let mut outdated = told(&[ready, settled, not_held]);
    outdated["metadata"]["generation"] = json!(3);
    for (reason, object, health, message, status) in [
        (
            "nobody has seen it",
            json!({ "metadata": { "generation": 1 } }),
            "Progressing",
            "it has had no turn yet",
            "Current",
        ),
        (
            "a newer generation waits",
            outdated,
            "Progressing",
            "the newest generation was not looked at yet",
            "InProgress",
        ),
        (
            "all is well",
            told(&[ready, settled, not_held]),
            "Healthy",
            "2 of 2 ready",
            "Current",
        ),
        (
            "it is being applied",
            told(&[
                unready("Progressing", "1 to create"),
                ("Reconciling", "True", "Applying", "1 to create"),
                not_held,
            ]),
            "Progressing",
            "1 to create",
            "InProgress",
        ),
        (
            "a generation is held",
            told(&[
                unready("CrashLoopBackOff", "generation 2: web ends with 3"),
                settled,
                ("Stalled", "True", "CrashLoopBackOff", "generation 2: web ends with 3"),
            ]),
            "Degraded",
            "generation 2: web ends with 3",
            "Failed",
        ),
        (
            "a plan waits for a yes",
            told(&[
                unready("AwaitingApproval", "the plan waits for a yes"),
                ("Reconciling", "True", "AwaitingApproval", "the plan waits for a yes"),
                not_held,
            ]),
            "Suspended",
            "the plan waits for a yes",
            "InProgress",
        ),
        (
            "a rollout waits for a promotion",
            told(&[
                unready("RolloutPaused", "web at 10%"),
                ("Reconciling", "True", "RolloutPaused", "web at 10%"),
                not_held,
            ]),
            "Suspended",
            "web at 10%",
            "InProgress",
        ),
        (
            "it is left alone",
            told(&[ready, ("Reconciling", "False", "Suspended", "left alone"), not_held]),
            "Suspended",
            "left alone",
            "Current",
        ),
        (
            "it is tried again by itself",
            told(&[
                unready("ClusterUnreachable", "no answer"),
                ("Reconciling", "True", "ClusterUnreachable", "no answer"),
                not_held,
            ]),
            "Progressing",
            "no answer",
            "InProgress",
        ),
        (
            "without a message its reason is one",
            told(&[("Ready", "True", "Ready", ""), ("Stalled", "False", "NotHeld", "")]),
            "Healthy",
            "Ready",
            "Current",
        ),
    ] {
        assert_eq!(argo(&object), (health.to_string(), message.to_string()), "{reason}");
        assert_eq!(kstatus(&object), status, "{reason}");
    }
}

#[test]
fn argo_cd_and_flux_see_what_becomes_of_a_living_app() {
    let test = "argo_cd_and_flux_see_what_becomes_of_a_living_app";
    if !has_lua(test) {
        return;
    }
    let Some(world) = World::start(test) else { return };
    let seen = |kind: &str, name: &str| {
        let object = world.get(&["-n", "team", kind, name]).unwrap_or_default();
        (argo(&object).0, kstatus(&object))
    };
    let comes = |name: &str, health: &str, status: &str| {
        until(&format!("{name} is {health} and {status}"), || {
            seen("app", name) == (health.to_string(), status)
        });
    };
    let annotate = |name: &str, note: &str| {
        world
            .plane
            .kubectl(&["annotate", "app", "-n", "team", name, note])
            .unwrap();
    };
    world.apply(&app("hello", 1));
    assert_eq!(seen("app", "hello").0, "Progressing", "nobody has looked yet");
    let _running = world.operator("one");
    comes("hello", "Healthy", "Current");
    assert_eq!(seen("target", "here"), ("Healthy".to_string(), "Current"));

    let mut built = app("built", 1);
    built["spec"]["services"]["web"] = json!({ "build": { "context": "." } });
    world.apply(&built);
    comes("built", "Degraded", "Failed");

    world.asks();
    comes("asking", "Suspended", "InProgress");

    annotate("hello", "portolan.dev/suspend=true");
    comes("hello", "Suspended", "Current");
    world.apply(&app("hello", 2));
    comes("hello", "Suspended", "InProgress");
    annotate("hello", "portolan.dev/suspend-");
    comes("hello", "Healthy", "Current");

    let keep = r#"{"metadata":{"finalizers":["portolan.dev/cleanup","example.com/somebody"]}}"#;
    let patch = ["patch", "app", "-n", "team", "hello", "--type=merge", "-p"];
    world.plane.kubectl(&[&patch[..], &[keep]].concat()).unwrap();
    world
        .plane
        .kubectl(&["delete", "app", "-n", "team", "hello", "--wait=false"])
        .unwrap();
    until("it is going", || seen("app", "hello").1 == "Terminating");
    let free = r#"{"metadata":{"finalizers":null}}"#;
    world.plane.kubectl(&[&patch[..], &[free]].concat()).unwrap();
}
