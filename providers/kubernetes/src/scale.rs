//! The number of replicas where something scales them: a value of somebody else's, as long as it is one that may be. Pure.

use serde_json::Value;

use crate::names::annotation;
use crate::read::note;

/// Whether the number that is there is as good as the one that is wanted.
pub fn is_free(wanted: &Value, seen: &Value) -> bool {
    let number = seen.pointer("/spec/replicas").and_then(Value::as_u64);
    let bounds = note(wanted, annotation::REPLICAS).and_then(bounds);
    matches!((bounds, number), (Some((min, max)), Some(number)) if (min..=max).contains(&number))
}

/// `2-10`
fn bounds(text: &str) -> Option<(u64, u64)> {
    let (min, max) = text.split_once('-')?;
    Some((min.parse().ok()?, max.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_is_free_within_its_bounds_alone() {
        let wanted = |bounds: Option<&str>| json!({ "metadata": { "annotations": { annotation::REPLICAS: bounds } }, "spec": { "replicas": 2 } });
        for (reason, bounds, seen, expected) in [
            ("nothing scales it", None, 3, false),
            ("an autoscaler's", Some("2-10"), 7, true),
            ("as it began", Some("2-10"), 2, true),
            ("scaled to nothing, where an autoscaler rests", Some("2-10"), 0, false),
            ("too many", Some("2-10"), 11, false),
            ("KEDA's nothing", Some("0-10"), 0, true),
        ] {
            let seen = json!({ "spec": { "replicas": seen } });
            assert_eq!(is_free(&wanted(bounds), &seen), expected, "{reason}");
        }
    }
}
