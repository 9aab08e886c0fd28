//! From an AdmissionReview with a question to the one with the answer. Pure.
//!
//! Only what somebody says in `spec` is judged, and only where he says something new: a delete, a status, a finalizer, an
//! annotation, and an object that is going away already are never kept from being written.

use serde_json::{Value, json};

use crate::intent;
use crate::object::AppName;

pub fn answer(asked: &Value) -> Value {
    let request = &asked["request"];
    let mut response = json!({ "uid": request["uid"], "allowed": true });
    if let Some(words) = refusal(request) {
        response["allowed"] = json!(false);
        response["status"] = json!({ "status": "Failure", "reason": "Invalid", "code": 422, "message": words });
    }
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
}

/// Why not.
fn refusal(request: &Value) -> Option<String> {
    let (object, before) = (&request["object"], &request["oldObject"]);
    let is_written = matches!(request["operation"].as_str(), Some("CREATE" | "UPDATE"));
    let is_part = request["subResource"].as_str().is_some_and(|part| !part.is_empty());
    let is_going = !object["metadata"]["deletionTimestamp"].is_null();
    let is_as_before = !before.is_null() && before["spec"] == object["spec"];
    if !is_written || is_part || is_going || is_as_before {
        return None;
    }
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_string();
    let words = match request["kind"]["kind"].as_str() {
        Some("App") => {
            let name = AppName {
                namespace: text("namespace"),
                name: text("name"),
            };
            intent::words_of_app(&name, &object["spec"])
        }
        Some("Target") => intent::words_of_target(&text("name"), &object["spec"]),
        _ => return None,
    };
    (!words.is_empty()).then(|| words.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(operation: &str, object: Value, before: Value) -> Value {
        json!({ "request": {
            "uid": "one", "operation": operation, "kind": { "kind": "App" }, "object": object, "oldObject": before,
        } })
    }

    fn app(spec: Value) -> Value {
        json!({ "metadata": { "name": "shop", "namespace": "team" }, "spec": spec })
    }

    #[test]
    fn what_is_new_is_judged_and_nothing_else() {
        let good = json!({ "targets": ["here"], "services": { "web": { "image": "registry.example/web:1" } } });
        let bad = json!({ "targets": ["here"], "services": { "web": {} } });
        let mut going = app(bad.clone());
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let mut status = asked("UPDATE", app(bad.clone()), app(good.clone()));
        status["request"]["subResource"] = json!("status");
        for (reason, asked, allowed) in [
            ("a good one", asked("CREATE", app(good.clone()), Value::Null), true),
            ("a bad one", asked("CREATE", app(bad.clone()), Value::Null), false),
            (
                "one that becomes bad",
                asked("UPDATE", app(bad.clone()), app(good)),
                false,
            ),
            (
                "one that was bad before the webhook was there: its finalizer, perhaps",
                asked("UPDATE", app(bad.clone()), app(bad.clone())),
                true,
            ),
            ("one that is going away", asked("UPDATE", going, app(json!({}))), true),
            ("one that goes", asked("DELETE", Value::Null, app(bad)), true),
            ("its status", status, true),
            ("nothing of ours", json!({ "request": { "uid": "one" } }), true),
            ("nothing", Value::Null, true),
        ] {
            let answer = answer(&asked);
            assert_eq!(answer["response"]["allowed"], allowed, "{reason}: {answer}");
        }
    }

    #[test]
    fn the_words_are_those_of_the_command_line() {
        let answer = answer(&asked("CREATE", app(json!({ "services": { "web": {} } })), Value::Null));
        let response = &answer["response"];
        assert_eq!(response["uid"], "one");
        assert_eq!(
            response["status"]["message"],
            "error[NoImage]: `spec.services.web` has no image\n  \
             at spec.services.web\n  \
             hint: add `build: {context: ./FOLDER}` or `image: REFERENCE`\n"
        );
    }
}
