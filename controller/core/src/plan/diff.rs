//! Two JSON bodies compared field by field: what most providers' `diff` begins with.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::FieldChange;

/// Every leaf that differs, as a change in place. Lists of objects that all have a `name` are compared by it, other
/// lists as a whole. A `null` and an absent key are the same.
pub fn field_changes(old: &Value, new: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare(&mut String::new(), Some(old), Some(new), &mut changes);
    changes
}

fn compare(path: &mut String, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<FieldChange>) {
    let old = old.filter(|value| !value.is_null());
    let new = new.filter(|value| !value.is_null());
    // Most are the same, and so is all that is in them.
    if old == new {
        return;
    }
    match (old.map(fields_of), new.map(fields_of)) {
        (Some(Some(old)), Some(Some(new))) => {
            let keys: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
            for key in keys {
                let length = path.len();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                compare(path, old.get(key).copied(), new.get(key).copied(), changes);
                path.truncate(length);
            }
        }
        _ => changes.push(FieldChange::in_place(path.clone(), old.cloned(), new.cloned())),
    }
}

/// The parts of a value that are compared one by one; `None` for a leaf. An open value is a leaf.
fn fields_of(value: &Value) -> Option<BTreeMap<&str, &Value>> {
    match value {
        Value::Object(fields) if crate::resource::Open::of(value).is_none() => {
            Some(fields.iter().map(|(key, value)| (key.as_str(), value)).collect())
        }
        Value::Array(items) => {
            let named: Option<BTreeMap<_, _>> = items
                .iter()
                .map(|item| Some((item.get("name")?.as_str()?, item)))
                .collect();
            named.filter(|named| named.len() == items.len())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn leaves_are_compared() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), "", "the same"),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 1, "c": 3}}),
                "a.c",
                "one leaf",
            ),
            (json!({"a": 1}), json!({}), "a", "a key that goes"),
            (json!({"a": null}), json!({}), "", "null is absent"),
            (
                json!({"e": {}}),
                json!({"e": {"X": "1"}}),
                "e.X",
                "a map that was empty",
            ),
            (
                json!([{"name": "x", "v": 1}, {"name": "y"}]),
                json!([{"name": "y"}, {"name": "x", "v": 2}]),
                "x.v",
                "lists of names have no order",
            ),
            (
                json!(["a", "b"]),
                json!(["a", "c"]),
                "",
                "other lists change as a whole, under their own path",
            ),
        ];
        for (old, new, expected, reason) in cases {
            let changes = field_changes(&old, &new);
            let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
            assert_eq!(fields.join(","), expected, "{reason}");
        }
        assert_eq!(field_changes(&json!(["a", "b"]), &json!(["a", "c"])).len(), 1);
    }
}
