//! What a platform's words mean: which call an operation is, where a request and an answer say what, and which state or
//! error each word stands for. Places are JSON pointers.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vocabulary {
    /// The page that describes the operations.
    pub source: String,
    /// Where a refusal says its code.
    pub error_code: String,
    pub operations: BTreeMap<String, Operation>,
    /// By kind of the platform in memory.
    pub objects: BTreeMap<String, ObjectWords>,
    pub errors: Vec<ErrorWord>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    pub call: Call,
    #[serde(default)]
    pub kind: Option<String>,
    /// In the request: the name of one object, or a list of names.
    #[serde(default)]
    pub name: String,
    /// Which part of a name counts, from its end, where it has slashes.
    #[serde(default = "last")]
    pub part: usize,
    /// In the request: the object, if it is not the whole.
    #[serde(default)]
    pub object: String,
    /// In the request.
    #[serde(default)]
    pub token: Option<String>,
    #[serde(default)]
    pub etag: Option<String>,
    /// In the answer: one object, a list of them, or for a list the names alone.
    #[serde(default)]
    pub shows: Option<String>,
    /// In the answer to a write: the name of the long operation that it begins.
    #[serde(default)]
    pub operation: Option<String>,
    /// In the answer: whether that has ended.
    #[serde(default)]
    pub done: Option<String>,
    /// Why it is no call of ours.
    #[serde(default)]
    pub because: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Call {
    Create,
    /// Of the fields that the request names; the others stay.
    Update,
    Delete,
    Describe,
    List,
    /// Whether a long operation has ended.
    Operation,
    /// Nothing that the platform in memory has.
    None,
}

/// Where an object, asked for or answered, says what.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectWords {
    pub name: String,
    #[serde(default)]
    pub revision: Option<Revision>,
    #[serde(default)]
    pub etag: Option<String>,
    /// Fields of the body in memory, and their places.
    pub fields: BTreeMap<String, String>,
    /// The first that fits counts.
    pub states: Vec<StateWord>,
    /// What an answer may say besides, which the platform in memory has not.
    pub unmodelled: Vec<Unmodelled>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revision {
    pub asked: String,
    pub shown: String,
    /// The one that serves, which is another while a change has not got ready.
    #[serde(default)]
    pub serves: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateWord {
    pub when: BTreeMap<String, Value>,
    pub is: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    Progressing,
    Ready,
    Failed,
    Deleting,
    /// Any of these but `Deleting`: the word does not say.
    There,
    /// Not there any more, whatever is told about it.
    Gone,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unmodelled {
    pub fields: Vec<String>,
    pub because: String,
}

/// What a refusal means.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorWord {
    pub code: String,
    /// By these operations alone.
    #[serde(default)]
    pub by: Vec<String>,
    pub is: Meaning,
    /// The code that the provider gives it.
    #[serde(default)]
    pub told_as: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Meaning {
    /// What was asked for is so already.
    Done,
    /// Nothing of that name is there.
    Missing,
    Retry,
    Conflict,
    Denied,
    Quota,
    Invalid,
}

fn last() -> usize {
    1
}

impl Vocabulary {
    pub fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a platform's folder has a vocabulary");
        let words: Self = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (name, operation) in &words.operations {
            let left_out = operation.call == Call::None;
            assert_eq!(
                operation.because.is_some(),
                left_out,
                "{name}: a reason is for what is left out"
            );
        }
        let left_out = words.objects.values().flat_map(|object| &object.unmodelled);
        assert!(
            left_out.into_iter().all(|one| !one.because.is_empty()),
            "each has a reason"
        );
        words
    }

    /// What the refusal means that `ask` was answered with.
    pub fn meaning(&self, ask: &str, answer: &Value) -> Result<&ErrorWord, String> {
        let code = answer.pointer(&self.error_code).and_then(Value::as_str);
        let code = code.ok_or_else(|| format!("a refusal without a code: {answer}"))?;
        let fits = |word: &&ErrorWord| word.code == code && (word.by.is_empty() || word.by.iter().any(|by| by == ask));
        let mut words = self.errors.iter();
        words
            .find(fits)
            .ok_or_else(|| format!("no word says what {code} means"))
    }
}

/// The part of a name that counts.
pub fn part_of(name: &str, from_its_end: usize) -> &str {
    name.rsplit('/').nth(from_its_end - 1).unwrap_or(name)
}

impl ObjectWords {
    pub fn state(&self, object: &Value) -> Result<State, String> {
        let says = |(place, value): (&String, &Value)| object.pointer(place).unwrap_or(&Value::Null) == value;
        let mut states = self.states.iter();
        let word = states.find(|word| word.when.iter().all(says));
        word.map(|word| word.is)
            .ok_or_else(|| format!("no word says how it stands: {object}"))
    }

    /// What the object says that nothing speaks of.
    pub fn unknown<'a>(&'a self, object: &'a Value) -> impl Iterator<Item = &'a String> {
        let states = self.states.iter().flat_map(|word| word.when.keys());
        let revision = self.revision.iter();
        let revision = revision.flat_map(|one| [&one.asked, &one.shown].into_iter().chain(&one.serves));
        let places = self
            .fields
            .values()
            .chain(states)
            .chain(revision)
            .chain(&self.etag)
            .chain([&self.name]);
        let spoken_of: Vec<&str> = places.filter_map(|place| place.split('/').nth(1)).collect();
        let left_out: Vec<&String> = self.unmodelled.iter().flat_map(|one| &one.fields).collect();
        let keys = object.as_object().into_iter().flat_map(|fields| fields.keys());
        keys.filter(move |key| !spoken_of.contains(&key.as_str()) && !left_out.contains(key))
    }
}
