//! A document as a tree that remembers where each part of it stands.
//!
//! Everything between the YAML reader and the typed manifest works on this tree: the walk along the schema, the checks of
//! meaning, and the merge of overrides. A merged tree is made of nodes that know their own lines, which is all there is to
//! provenance.

use serde_json::{Map, Number, Value};

/// A place in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// From the first character to after the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub start: Position,
    pub end: Position,
}

impl Span {
    /// Whether `other` lies within.
    pub fn contains(&self, other: Span) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// One value of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub span: Span,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; keys are unique.
    Map(Vec<Entry>),
}

/// One key of a map, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

impl Node {
    /// The entries of a map, none if it is something else.
    pub fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list, none if it is something else.
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn integer(&self) -> Option<i64> {
        match self.data {
            Data::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// The text at `key`.
    pub fn text_at(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::text)
    }

    /// The same without spans.
    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Boolean(value) => Value::Bool(*value),
            Data::Integer(value) => Value::Number((*value).into()),
            Data::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Data::Map(entries) => Value::Object(json_map(entries)),
        }
    }

    /// What stands at a JSON pointer, and the span of its key (of itself in a list or at the root).
    pub fn at(&self, pointer: &str) -> Option<Found<'_>> {
        let root = Found {
            key_span: self.span,
            node: self,
        };
        pointer
            .split('/')
            .skip(1)
            .try_fold(root, |found, token| found.node.child(&unescape(token)))
    }

    fn child(&self, token: &str) -> Option<Found<'_>> {
        match &self.data {
            Data::Map(_) => self.entry(token).map(|entry| Found {
                key_span: entry.key_span,
                node: &entry.value,
            }),
            Data::List(items) => {
                let node = items.get(token.parse::<usize>().ok()?)?;
                Some(Found {
                    key_span: node.span,
                    node,
                })
            }
            _ => None,
        }
    }
}

/// What a pointer leads to.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub key_span: Span,
    pub node: &'a Node,
}

fn json_map(entries: &[Entry]) -> Map<String, Value> {
    entries
        .iter()
        .map(|entry| (entry.key.clone(), entry.value.to_json()))
        .collect()
}

/// `token` as it stands in a JSON pointer (RFC 6901, section 3).
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}
