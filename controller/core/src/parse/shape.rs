//! The structural schema, read once into the form along which a document is walked.
//!
//! A structural schema has one type in each place, so that walking it needs no search and no backtracking: each key of a
//! document either has its shape or is a fault.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::manifest::grammar::Grammar;
use crate::schema::{app_schema, target_schema};

/// What one place of a document may hold.
#[derive(Debug)]
pub struct Shape {
    pub kind: ShapeKind,
    /// Whether null is a value here: in overrides, where it removes.
    pub nullable: bool,
    /// First sentence of what it is, as the end of one of ours.
    pub about: String,
}

#[derive(Debug)]
pub enum ShapeKind {
    /// Named fields; `required` in the order of the schema.
    Object {
        fields: BTreeMap<String, Shape>,
        required: Vec<String>,
    },
    /// Keys that the user chooses.
    Map {
        keys: Option<&'static Grammar>,
        values: Box<Shape>,
        max: usize,
    },
    List {
        items: Box<Shape>,
        min: usize,
        max: usize,
        unique: Unique,
    },
    Text {
        grammar: Option<&'static Grammar>,
        allowed: Vec<String>,
        min_length: usize,
        max_length: usize,
    },
    /// A whole number, or a text of the grammar.
    Quantity {
        grammar: &'static Grammar,
        max_length: usize,
    },
    Integer {
        min: i64,
        max: i64,
    },
    Boolean,
}

/// What may stand in a list only once, which is also how it merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unique {
    /// Nothing; an override replaces the list.
    Nothing,
    /// Each item; an override replaces the list.
    Items,
    /// Items of one value of this field; an override merges into the item of the same value.
    By(String),
}

impl Shape {
    pub fn app() -> &'static Self {
        static SHAPE: LazyLock<Shape> = LazyLock::new(|| Shape::of(app_schema()));
        &SHAPE
    }

    pub fn target() -> &'static Self {
        static SHAPE: LazyLock<Shape> = LazyLock::new(|| Shape::of(target_schema()));
        &SHAPE
    }

    pub fn field(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            ShapeKind::Object { fields, .. } => fields.get(name),
            _ => None,
        }
    }

    fn of(schema: &Value) -> Self {
        let about = first_sentence(schema["description"].as_str().unwrap_or_default());
        Self {
            kind: kind_of(schema),
            nullable: schema["nullable"] == true,
            about,
        }
    }
}

/// Without its full stop and its capital letter (but `GET` keeps its own).
fn first_sentence(text: &str) -> String {
    let sentence = text
        .split(". ")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
        .replace('\n', " ");
    let mut chars = sentence.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => sentence,
    }
}

fn kind_of(schema: &Value) -> ShapeKind {
    if schema["x-kubernetes-int-or-string"] == true {
        return ShapeKind::Quantity {
            grammar: grammar_of(schema).expect("a quantity has a grammar"),
            max_length: most(&schema["maxLength"]),
        };
    }
    match schema["type"].as_str() {
        Some("object") if schema["properties"].is_object() => object_of(schema),
        Some("object") => ShapeKind::Map {
            keys: grammar_of(&schema["propertyNames"]),
            values: Box::new(Shape::of(&schema["additionalProperties"])),
            max: most(&schema["maxProperties"]),
        },
        Some("array") => ShapeKind::List {
            items: Box::new(Shape::of(&schema["items"])),
            min: schema["minItems"].as_u64().unwrap_or(0) as usize,
            max: most(&schema["maxItems"]),
            unique: unique_of(schema),
        },
        Some("string") => ShapeKind::Text {
            grammar: grammar_of(schema),
            allowed: texts(&schema["enum"]),
            min_length: schema["minLength"].as_u64().unwrap_or(0) as usize,
            max_length: most(&schema["maxLength"]),
        },
        Some("integer") => ShapeKind::Integer {
            min: schema["minimum"].as_i64().unwrap_or(i64::MIN),
            max: schema["maximum"].as_i64().unwrap_or(i64::from(u32::MAX)),
        },
        Some("boolean") => ShapeKind::Boolean,
        // A test walks the whole schema, so that a type that is none of these is found before anyone's manifest is read.
        other => panic!("the manifest's schema has a {other:?} in it: {schema}"),
    }
}

/// No limit where none is said.
fn most(limit: &Value) -> usize {
    limit.as_u64().map_or(usize::MAX, |most| most as usize)
}

fn object_of(schema: &Value) -> ShapeKind {
    let properties = schema["properties"].as_object().into_iter().flatten();
    ShapeKind::Object {
        fields: properties
            .map(|(name, schema)| (name.clone(), Shape::of(schema)))
            .collect(),
        required: texts(&schema["required"]),
    }
}

fn unique_of(schema: &Value) -> Unique {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Unique::Items,
        Some("map") => texts(&schema["x-kubernetes-list-map-keys"])
            .into_iter()
            .next()
            .map_or(Unique::Nothing, Unique::By),
        _ => Unique::Nothing,
    }
}

fn grammar_of(schema: &Value) -> Option<&'static Grammar> {
    let pattern = schema["pattern"].as_str()?;
    Some(Grammar::of_pattern(pattern).expect("every pattern of the schema is one of the grammars"))
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_string)
        .collect()
}
