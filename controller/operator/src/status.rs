//! An App's status, from what its targets say: kstatus' conditions, and an entry for each target. Pure.
//!
//! It is the same value for the same facts, so that whoever compares it with what is there writes nothing where nothing has
//! changed; and it is never larger than [`MOST`], whatever an App has: what does not fit is counted.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::history::history;
use crate::intent::Refusal;
use crate::told::{Told, Verdict, resource};

/// Half of what is promised, in bytes of JSON: who owns which field is kept beside it.
const MOST: usize = 128 * 1024;

/// What a status is made of.
pub struct Parts<'a> {
    /// Of the object.
    pub generation: i64,
    /// What each target says; with the name of none where the manifest itself is told of.
    pub told: Vec<(&'a str, &'a Told)>,
    /// Targets of those where nothing can have been applied: they have no entry, so that nobody cleans up there.
    pub without_entry: BTreeSet<&'a str>,
    /// Entries that stay as they are: of targets that say nothing now.
    pub kept: Map<String, Value>,
    pub reconcile_at: Option<&'a str>,
    pub promote: Option<&'a str>,
    /// The app's one service, and whose it is, where the App says `replicas`: it can be scaled as a whole.
    pub scaled: Option<Scaled<'a>>,
    /// What is there now.
    pub before: &'a Value,
    /// RFC 3339, in seconds.
    pub now: &'a str,
}

/// What an App is scaled by.
pub struct Scaled<'a> {
    pub app: &'a str,
    pub service: &'a str,
}

/// The four conditions' names.
const KINDS: [&str; 4] = ["Ready", "Reconciling", "Stalled", "Drifted"];

pub fn status(parts: &Parts<'_>) -> Value {
    let mut status = json!({
        "observedGeneration": parts.generation,
        "conditions": conditions(parts),
    });
    let targets = targets(parts);
    if !targets.is_empty() {
        status["targets"] = Value::Object(targets);
    }
    if let Some(scaled) = &parts.scaled {
        status["replicas"] = json!(replicas(parts));
        // As the provider labels pods.
        status["selector"] = json!(format!(
            "portolan.dev/app={},app.kubernetes.io/name={}",
            scaled.app, scaled.service
        ));
    }
    if let Some(at) = parts.reconcile_at {
        status["lastHandledReconcileAt"] = json!(at);
    }
    if let Some(said) = parts.promote {
        status["lastHandledPromote"] = json!(said);
    }
    status
}

/// Those that are ready, where the fewest are.
fn replicas(parts: &Parts<'_>) -> u32 {
    let ready = |told: &Told| -> u32 {
        let replicas = told.resources.iter().filter_map(|one| one.replicas);
        replicas.map(|replicas| replicas.ready).sum()
    };
    let of_targets = parts.told.iter().filter(|(name, _)| !name.is_empty());
    of_targets.map(|(_, told)| ready(told)).min().unwrap_or(0)
}

/// Of a Target: whether apps can go there, as far as it can be told without asking anybody.
pub fn of_target(refusals: Option<&[Refusal]>, generation: i64, before: &Value, now: &str) -> Value {
    let told = match refusals {
        Some(refusals) => Told::refused(refusals),
        None => Told::usable(),
    };
    let verdicts = [("Ready", &told.ready), ("Stalled", &told.stalled)];
    let conditions = verdicts.map(|(kind, verdict)| condition(kind, verdict, generation, before, now));
    json!({ "observedGeneration": generation, "conditions": conditions })
}

/// The generation that a status is about. A new object has one by the definition's default, which is about none.
pub fn observed(status: &Value) -> Option<i64> {
    status["observedGeneration"]
        .as_i64()
        .filter(|generation| *generation >= 0)
}

/// The same, but for one condition: of an App that nobody looks at.
pub fn suspended(before: &Value, generation: i64, now: &str) -> Value {
    let mut status = before.clone();
    let seen = observed(before).unwrap_or(generation);
    status["observedGeneration"] = json!(seen);
    let message = "left alone for as long as it bears portolan.dev/suspend";
    let ready = condition_of(before, "Ready").cloned();
    let ready =
        ready.unwrap_or_else(|| condition("Ready", &Verdict::new(false, "Suspended", message), seen, before, now));
    let reconciling = condition(
        "Reconciling",
        &Verdict::new(false, "Suspended", message),
        seen,
        before,
        now,
    );
    let others = ["Stalled", "Drifted"].map(|kind| condition_of(before, kind).cloned());
    let all = [Some(ready), Some(reconciling)].into_iter().chain(others).flatten();
    status["conditions"] = all.collect();
    status
}

fn conditions(parts: &Parts<'_>) -> Vec<Value> {
    let of = |kind: &str| -> Verdict {
        let verdict = |told: &Told| match kind {
            "Ready" => told.ready.clone(),
            "Reconciling" => told.reconciling.clone(),
            "Stalled" => told.stalled.clone(),
            _ => told.drifted.clone(),
        };
        // Of Ready one that is not counts, of the others one that is.
        together(
            parts.told.iter().map(|(name, told)| (*name, verdict(told))),
            kind != "Ready",
        )
    };
    KINDS
        .iter()
        .map(|kind| condition(kind, &of(kind), parts.generation, parts.before, parts.now))
        .collect()
}

/// The first that is as `counts`, else the first.
fn together<'a>(verdicts: impl Iterator<Item = (&'a str, Verdict)>, counts: bool) -> Verdict {
    let all: Vec<(&str, Verdict)> = verdicts.collect();
    let several = all.len() > 1;
    let chosen = all.iter().position(|(_, verdict)| verdict.is == counts).unwrap_or(0);
    match all.into_iter().nth(chosen) {
        None => Verdict::new(!counts, "NoTargets", "it goes to no target"),
        Some((name, verdict)) if several && !name.is_empty() && !verdict.message.is_empty() => {
            Verdict::new(verdict.is, verdict.reason, format!("{name}: {}", verdict.message))
        }
        Some((_, verdict)) => verdict,
    }
}

/// Its time is that of the last change from true to false or back.
fn condition(kind: &str, verdict: &Verdict, generation: i64, before: &Value, now: &str) -> Value {
    let word = if verdict.is { "True" } else { "False" };
    let since = condition_of(before, kind).filter(|known| known["status"] == word);
    let since = since
        .and_then(|known| known["lastTransitionTime"].as_str())
        .unwrap_or(now);
    json!({
        "type": kind,
        "status": word,
        "reason": verdict.reason,
        "message": verdict.message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    })
}

fn condition_of<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

fn targets(parts: &Parts<'_>) -> Map<String, Value> {
    let mut entries = parts.kept.clone();
    let named: Vec<_> = parts
        .told
        .iter()
        .filter(|(name, _)| !name.is_empty() && !parts.without_entry.contains(name))
        .collect();
    let room = MOST / named.len().max(1);
    for (name, told) in named {
        let history = history(&parts.before["targets"][*name], told, parts.now);
        entries.insert((*name).to_string(), entry(told, history, room));
    }
    entries
}

/// Of a target: no larger than `room`, if there is room for what every entry has.
fn entry(told: &Told, history: Vec<Value>, room: usize) -> Value {
    let mut entry = json!({
        "ready": told.ready.is,
        "reason": told.ready.reason,
        "message": told.ready.message,
        "generation": told.generation,
    });
    if let Some(plan) = &told.plan {
        entry["plan"] = json!(plan);
    }
    if let Some(promotion) = &told.promotion {
        entry["promotion"] = json!(promotion);
    }
    shorten(&mut entry, room);
    let mut left = room.saturating_sub(entry.to_string().len());
    let history = as_many_as_fit(history.into_iter(), &mut left);
    let shown = as_many_as_fit(told.resources.iter().map(resource), &mut left);
    if shown.len() < told.resources.len() {
        entry["more"] = json!(told.resources.len() - shown.len());
    }
    if !history.is_empty() {
        entry["history"] = Value::Array(history);
    }
    if !shown.is_empty() {
        entry["resources"] = Value::Array(shown);
    }
    entry
}

fn as_many_as_fit(values: impl Iterator<Item = Value>, left: &mut usize) -> Vec<Value> {
    let fits = |value: Value| {
        *left = left.checked_sub(value.to_string().len() + 1)?;
        Some(value)
    };
    values.map_while(fits).collect()
}

/// Of very many targets each has little to say. Quoted, a letter takes up to six bytes.
fn shorten(entry: &mut Value, room: usize) {
    let too_many = entry.to_string().len().saturating_sub(room);
    if too_many > 0 {
        let message = entry["message"].as_str().unwrap_or_default();
        let letters = message.chars().count().saturating_sub(too_many + 3);
        let short: String = message.chars().take(letters).collect();
        entry["message"] = json!(format!("{short}..."));
    }
}

#[cfg(test)]
mod tests {
    use portolan_core::observation::Replicas;
    use portolan_core::resource::ResourceId;
    use portolan_core::status::{ResourceStatus, StateWord};

    use super::*;

    fn parts<'a>(told: Vec<(&'a str, &'a Told)>, before: &'a Value, now: &'a str) -> Parts<'a> {
        Parts {
            generation: 3,
            told,
            without_entry: BTreeSet::new(),
            kept: Map::new(),
            reconcile_at: None,
            promote: None,
            scaled: None,
            before,
            now,
        }
    }

    fn ready() -> Told {
        Told {
            ready: Verdict::new(true, "Ready", "1 of 1 ready"),
            reconciling: Verdict::new(false, "Settled", ""),
            ..Told::waiting()
        }
    }

    fn faulty() -> Told {
        Told::refused(&[Refusal {
            code: "UnknownKey".into(),
            message: "spec.x: no such key".into(),
        }])
    }

    #[test]
    fn one_target_that_is_not_ready_makes_the_app_unready() {
        let (one, two) = (ready(), faulty());
        let status = status(&parts(vec![("one", &one), ("two", &two)], &Value::Null, "t1"));
        let found = |kind| condition_of(&status, kind).unwrap();
        assert_eq!(found("Ready")["status"], "False");
        assert_eq!(found("Ready")["message"], "two: spec.x: no such key");
        assert_eq!(
            (&found("Stalled")["status"], &found("Stalled")["reason"]),
            (&json!("True"), &json!("UnknownKey"))
        );
        assert_eq!(status["targets"]["one"]["ready"], true);
    }

    #[test]
    fn the_same_facts_make_the_same_status_whenever() {
        let told = ready();
        let first = status(&parts(vec![("one", &told)], &Value::Null, "t1"));
        assert_eq!(status(&parts(vec![("one", &told)], &first, "t2")), first);
        let other = faulty();
        let second = status(&parts(vec![("one", &other)], &first, "t2"));
        assert_eq!(condition_of(&second, "Ready").unwrap()["lastTransitionTime"], "t2");
        assert_eq!(condition_of(&second, "Drifted").unwrap()["lastTransitionTime"], "t1");
    }

    fn resource(number: usize, message: &str) -> ResourceStatus {
        let replicas = |ready| Replicas {
            wanted: 2,
            ready,
            updated: 2,
            restarts: 0,
        };
        ResourceStatus {
            id: ResourceId::new("Deployment", format!("a-service-with-a-long-name-{number:04}")),
            state: if message.is_empty() {
                StateWord::Ready
            } else {
                StateWord::Failed
            },
            revision: Some("0123456789abcdef".into()),
            replicas: Some(replicas(if message.is_empty() { 2 } else { 0 })),
            endpoints: vec![format!("http://a-service-with-a-long-name-{number:04}.shop.svc:8080")],
            message: Some(message.to_string()).filter(|message| !message.is_empty()),
            paused: None,
            step: None,
            failure: None,
        }
    }

    /// As a turn tells it: the worst first.
    fn told_of(count: usize, failed: usize, message: &str) -> Told {
        let mut told = if failed == 0 { ready() } else { faulty() };
        told.ready.message = message.to_string();
        let failing = (0..failed).map(|number| resource(number, message));
        told.resources = failing
            .chain((failed..count).map(|number| resource(number, "")))
            .collect();
        told
    }

    #[test]
    fn whatever_an_app_has_its_status_fits_and_counts_what_it_leaves_out() {
        // In JSON each of these letters takes six bytes.
        let long = "\u{1}".repeat(1_000);
        for (reason, targets, services, failed, message, least) in [
            ("two thousand that are well", 1, 2_000, 0, "", 500),
            ("all of them failing, with much to say", 1, 2_000, 2_000, &*long, 15),
            ("a few that fail", 1, 2_000, 5, "out of memory", 500),
            ("several targets", 8, 2_000, 2_000, &*long, 1),
            ("very many targets", 400, 10, 10, &*long, 0),
        ] {
            let told: Vec<(String, Told)> = (0..targets)
                .map(|number| (format!("target-{number:03}"), told_of(services, failed, message)))
                .collect();
            let told: Vec<(&str, &Told)> = told.iter().map(|(name, told)| (&**name, told)).collect();
            let status = status(&parts(told, &Value::Null, "t"));
            let size = status.to_string().len();
            assert!(size < 256 * 1024, "{reason}: {size} bytes");
            assert_eq!(status["targets"].as_object().unwrap().len(), targets, "{reason}");
            for entry in status["targets"].as_object().unwrap().values() {
                let shown = entry["resources"].as_array().map_or(&[][..], Vec::as_slice);
                let left_out = entry["more"].as_u64().unwrap_or_default() as usize;
                assert!(shown.len() >= least, "{reason}: {} shown", shown.len());
                assert_eq!(shown.len() + left_out, services, "{reason}");
                let worst = shown.iter().take(failed).all(|one| one["state"] == "failed");
                assert!(worst, "{reason}: the worst come first");
            }
        }
    }
}
