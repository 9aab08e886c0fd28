//! Which generations came to a target, and what became of each: what `kubectl rollout history` tells of a Deployment. It is
//! kept in the status itself, so that it outlives a journal. Pure.

use serde_json::{Value, json};

use crate::told::Told;

/// As many as the journal keeps.
const KEPT: usize = 10;

/// The newest first: those that `before`, a target's entry in the status, tells, and the one that has come to its end since.
pub fn history(before: &Value, told: &Told, now: &str) -> Vec<Value> {
    let mut history = before["history"].as_array().cloned().unwrap_or_default();
    let has_ended = told.generation > 0 && !told.reconciling.is && (told.ready.is || told.stalled.is);
    if !has_ended {
        return history;
    }
    let reason = &told.ready.reason;
    match history
        .first_mut()
        .filter(|newest| newest["generation"] == told.generation)
    {
        // Once it has served, what happens to it is no longer a rollout.
        Some(newest) if newest["ready"] == true => {}
        Some(newest) => (newest["ready"], newest["reason"]) = (json!(told.ready.is), json!(reason)),
        None => {
            let newest = json!({ "generation": told.generation, "at": now, "ready": told.ready.is, "reason": reason });
            history.insert(0, newest);
            history.truncate(KEPT);
        }
    }
    history
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::Verdict;

    fn told(generation: u64, is_ready: bool, reason: &str) -> Told {
        let mut told = Told {
            generation,
            ..Told::usable()
        };
        told.ready = Verdict::new(is_ready, reason, "");
        told.stalled.is = !is_ready;
        told
    }

    #[test]
    fn each_generation_is_told_once_by_how_it_ended_first_or_was_brought_to_serve() {
        let mut going = told(2, false, "Progressing");
        (going.stalled.is, going.reconciling.is) = (false, true);
        let mut entry = json!({});
        let all = [
            told(1, true, "Ready"),
            going,
            told(2, false, "CrashLoop"),
            told(2, true, "Ready"),
            told(2, false, "CrashLoop"),
            told(3, false, "ImagePull"),
        ];
        for (at, told) in all.iter().enumerate() {
            entry = json!({ "history": history(&entry, told, &at.to_string()) });
        }
        let expected = json!({ "history": [
            { "generation": 3, "at": "5", "ready": false, "reason": "ImagePull" },
            { "generation": 2, "at": "2", "ready": true, "reason": "Ready" },
            { "generation": 1, "at": "0", "ready": true, "reason": "Ready" },
        ] });
        assert_eq!(entry, expected);
        for generation in 4..20 {
            entry = json!({ "history": history(&entry, &told(generation, true, "Ready"), "later") });
        }
        let kept = entry["history"].as_array().unwrap();
        assert_eq!((kept.len(), &kept[0]["generation"]), (KEPT, &json!(19)));
    }
}
