//! What an answer says of an object, beside what the platform in memory shows of it.

use std::collections::BTreeMap;

use portolan_core::observation::{ObservedResource, ResourceState};
use portolan_provider_fake::KindRules;
use serde_json::Value;

use crate::vocabulary::{ObjectWords, State, part_of};

/// Etags of the counterpart, and those that stand for them in memory.
#[derive(Default)]
pub struct Etags(BTreeMap<String, String>);

impl Etags {
    pub fn of(&self, theirs: &str) -> String {
        self.0.get(theirs).cloned().unwrap_or_else(|| theirs.to_string())
    }

    /// Whether the two change together.
    fn agree(&mut self, theirs: &str, ours: &str) -> bool {
        match self.0.get(theirs) {
            Some(known) => known == ours,
            None if self.0.values().any(|known| known == ours) => false,
            None => {
                self.0.insert(theirs.to_string(), ours.to_string());
                true
            }
        }
    }
}

/// How the object that was answered is not the one that is shown.
pub fn differences(
    words: &ObjectWords,
    rules: &KindRules,
    answered: &Value,
    shown: Option<&ObservedResource>,
    serves: Option<&str>,
    etags: &mut Etags,
) -> Vec<String> {
    let mut lines = Vec::new();
    for field in words.unknown(answered) {
        lines.push(format!(
            "nothing says what `{field}` is: a field, or one that is not modelled"
        ));
    }
    let state = match words.state(answered) {
        Ok(state) => state,
        Err(line) => return vec![line],
    };
    let Some(shown) = shown else {
        if state != State::Gone {
            lines.push(format!("it is {state:?}, and in memory it is not there"));
        }
        return lines;
    };
    if !is(state, &shown.state) {
        lines.push(format!("it is {state:?}, and in memory {:?}", shown.state));
    }
    for (field, place) in &words.fields {
        let theirs = answered.pointer(place);
        let ours = shown.body.get(field);
        if theirs.is_some_and(|theirs| normal(rules, field, Some(theirs)) != normal(rules, field, ours)) {
            lines.push(format!("`{field}` is {theirs:?}, and in memory {ours:?}"));
        }
    }
    if let Some(revision) = &words.revision {
        lines.extend(told(
            "its revision",
            answered.pointer(&revision.shown),
            shown.revision.as_deref(),
        ));
        let place = revision.serves.as_ref().and_then(|place| answered.pointer(place));
        lines.extend(told("what serves", place, serves));
    }
    let etag = words.etag.as_ref().and_then(|place| answered.pointer(place)?.as_str());
    if let Some(theirs) = etag
        && !shown.etag.as_ref().is_some_and(|ours| etags.agree(theirs, ours))
    {
        lines.push(format!(
            "its etag is {theirs}, and in memory {:?} stands for another",
            shown.etag
        ));
    }
    lines
}

fn told(what: &str, theirs: Option<&Value>, ours: Option<&str>) -> Option<String> {
    let theirs = part_of(theirs?.as_str()?, 1);
    (Some(theirs) != ours).then(|| format!("{what} is {theirs}, and in memory {ours:?}"))
}

fn is(theirs: State, ours: &ResourceState) -> bool {
    match theirs {
        State::Progressing => matches!(ours, ResourceState::Progressing { .. }),
        State::Ready => matches!(ours, ResourceState::Ready | ResourceState::Completed),
        State::Failed => matches!(ours, ResourceState::Failed { .. }),
        State::Deleting => *ours == ResourceState::Deleting,
        State::There => *ours != ResourceState::Deleting,
        State::Gone => false,
    }
}

/// In one order and one case, where the platform's table says that neither counts.
fn normal(rules: &KindRules, field: &str, value: Option<&Value>) -> Option<Value> {
    let mut value = value.cloned();
    match &mut value {
        Some(Value::Array(items)) if rules.reordered.contains(&field) => items.sort_by_cached_key(ToString::to_string),
        Some(Value::String(text)) if rules.recased.contains(&field) => text.make_ascii_lowercase(),
        _ => {}
    }
    value
}
