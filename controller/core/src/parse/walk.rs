//! The walk of a document along its shape: every place where the two differ is a fault, and none stops the walk.
//!
//! A validator of general JSON Schema would find the same faults and then have to guess their words back from keywords.
//! Our schema is structural, so that each place has one type, and the words can be written where the fault is found
//! (`docs/decisions/0001-manifest-validation.md`).

use std::collections::{BTreeMap, HashMap};

use super::fault::{Fault, list, nearest, quoted};
use super::node::{Data, Entry, Node, Span};
use super::path::Path;
use super::shape::{Shape, ShapeKind, Unique};
use crate::manifest::grammar::Grammar;

/// Faults of `node`, which stands at `path`, against `shape`.
pub fn walk(node: &Node, shape: &Shape, path: &Path<'_>, faults: &mut Vec<Fault>) {
    match (&node.data, &shape.kind) {
        (Data::Null, _) if shape.nullable => {}
        (Data::Map(entries), ShapeKind::Object { fields, required }) => {
            object(node, entries, fields, required, path, faults);
        }
        (Data::Map(entries), ShapeKind::Map { keys, values, max }) => {
            if entries.len() > *max {
                faults.push(too_many(node.span, entries.len(), *max, path));
            }
            map(entries, *keys, values, path, faults);
        }
        (
            Data::List(items),
            ShapeKind::List {
                items: shape,
                min,
                max,
                unique,
            },
        ) => {
            if items.len() > *max {
                faults.push(too_many(node.span, items.len(), *max, path));
            }
            walk_list(node, items, shape, path, faults);
            if items.len() < *min {
                faults.push(empty(node.span, path));
            }
            duplicates(items, unique, path, faults);
        }
        (
            Data::Text(text),
            ShapeKind::Text {
                grammar,
                allowed,
                min_length,
                max_length,
            },
        ) => {
            if text.chars().count() > *max_length {
                faults.push(too_long(node.span, text, *max_length, path));
                return;
            }
            faults.extend(text_fault(node.span, text, *grammar, allowed, *min_length, path));
        }
        (Data::Text(text), ShapeKind::Quantity { max_length, .. }) if text.chars().count() > *max_length => {
            faults.push(too_long(node.span, text, *max_length, path));
        }
        (Data::Text(text), ShapeKind::Quantity { grammar, .. }) if !grammar.accepts(text) => {
            faults.push(ungrammatical(node.span, text, grammar, path));
        }
        (Data::Integer(value), ShapeKind::Quantity { grammar, .. }) if !grammar.accepts(&value.to_string()) => {
            faults.push(ungrammatical(node.span, &value.to_string(), grammar, path));
        }
        (Data::Integer(value), ShapeKind::Integer { min, max }) if value < min || value > max => {
            let message = format!("{} must be {}, not {value}", path.words(), range(*min, *max));
            faults.push(Fault::new("OutOfRange", node.span, path, message));
        }
        (Data::Integer(_), ShapeKind::Integer { .. })
        | (Data::Boolean(_), ShapeKind::Boolean)
        | (Data::Text(_) | Data::Integer(_), ShapeKind::Quantity { .. }) => {}
        _ => faults.push(wrong_type(node, shape, path)),
    }
}

fn object(
    node: &Node,
    entries: &[Entry],
    fields: &BTreeMap<String, Shape>,
    required: &[String],
    path: &Path<'_>,
    faults: &mut Vec<Fault>,
) {
    for entry in entries.iter().filter(|entry| !entry.key.starts_with("x-")) {
        let path_of_key = path.key(&entry.key);
        match fields.get(&entry.key) {
            Some(shape) => walk(&entry.value, shape, &path_of_key, faults),
            None => faults.push(unknown_key(entry, fields, path)),
        }
    }
    for name in required
        .iter()
        .filter(|name| entries.iter().all(|entry| &entry.key != *name))
    {
        let message = format!("{} has no `{name}`", path.words());
        let start = Span {
            start: node.span.start,
            end: node.span.start,
        };
        let at = entries.first().map_or(start, |entry| entry.key_span);
        let about = fields.get(name).map(|shape| shape.about.as_str()).unwrap_or_default();
        faults.push(Fault::new("MissingField", at, path, message).hint(format!("add `{name}`: {about}")));
    }
}

fn map(entries: &[Entry], keys: Option<&'static Grammar>, values: &Shape, path: &Path<'_>, faults: &mut Vec<Fault>) {
    for entry in entries {
        let path = path.key(&entry.key);
        if let Some(grammar) = keys.filter(|grammar| !grammar.accepts(&entry.key)) {
            faults.push(ungrammatical(entry.key_span, &entry.key, grammar, &path));
        }
        walk(&entry.value, values, &path, faults);
    }
}

fn walk_list(node: &Node, items: &[Node], shape: &Shape, path: &Path<'_>, faults: &mut Vec<Fault>) {
    debug_assert_eq!(node.items().len(), items.len());
    for (index, item) in items.iter().enumerate() {
        walk(item, shape, &path.index(index), faults);
    }
}

fn duplicates(items: &[Node], unique: &Unique, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let (field, texts): (&str, Vec<Option<&Node>>) = match unique {
        Unique::Nothing => return,
        Unique::Items => ("", items.iter().map(Some).collect()),
        Unique::By(field) => (field, items.iter().map(|item| item.get(field)).collect()),
    };
    let mut first: HashMap<&str, Span> = HashMap::new();
    for (index, node) in texts.into_iter().enumerate() {
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else {
            continue;
        };
        let Some(before) = first.get(text) else {
            first.insert(text, node.span);
            continue;
        };
        let code = if field == "path" {
            "DuplicatePath"
        } else {
            "DuplicateName"
        };
        let message = format!("{} has {} twice", path.words(), quoted(text));
        let fault = Fault::new(code, node.span, &path.index(index), message);
        faults.push(fault.because(format!("it stands on line {} already", before.start.line)));
    }
}

fn text_fault(
    span: Span,
    text: &str,
    grammar: Option<&'static Grammar>,
    allowed: &[String],
    min_length: usize,
    path: &Path<'_>,
) -> Option<Fault> {
    if text.len() < min_length {
        return Some(empty(span, path));
    }
    if !allowed.is_empty() && allowed.iter().all(|word| word != text) {
        return Some(not_allowed(span, text, allowed, path));
    }
    grammar
        .filter(|grammar| !grammar.accepts(text))
        .map(|grammar| ungrammatical(span, text, grammar, path))
}

fn empty(span: Span, path: &Path<'_>) -> Fault {
    Fault::new("EmptyValue", span, path, format!("{} is empty", path.words()))
}

fn too_many(span: Span, count: usize, most: usize, path: &Path<'_>) -> Fault {
    let message = format!("{} has {count} of them, more than {most}", path.words());
    Fault::new("TooMany", span, path, message).hint("split the app")
}

fn too_long(span: Span, text: &str, most: usize, path: &Path<'_>) -> Fault {
    let message = format!("{} is longer than {most} characters", quoted(text));
    Fault::new("TooLong", span, path, message)
}

fn not_allowed(span: Span, text: &str, allowed: &[String], path: &Path<'_>) -> Fault {
    let message = format!("{} cannot be {}", path.words(), quoted(text));
    let words = || allowed.iter().map(String::as_str);
    let hint = match (nearest(text, words()), allowed) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, [only]) => format!("it can only be `{only}`"),
        (None, _) => format!("choose one of {}", list(words())),
    };
    Fault::new("InvalidValue", span, path, message).hint(hint)
}

fn ungrammatical(span: Span, text: &str, grammar: &Grammar, path: &Path<'_>) -> Fault {
    let message = match text.is_empty() {
        true => format!("an empty text is not {}", grammar.what),
        false => format!("{} is not {}", quoted(text), grammar.what),
    };
    let mut fault = Fault::new(grammar.code, span, path, message);
    fault.because = grammar.reason(text);
    let likely = likely_name(text).filter(|name| grammar.code == "InvalidName" && grammar.accepts(name));
    match likely {
        Some(name) => fault.hint(format!("{} is made of {}; `{name}` is one", grammar.what, grammar.rule)),
        None => fault.hint(format!(
            "{}: {}, as in `{}`",
            grammar.what, grammar.rule, grammar.example
        )),
    }
}

/// What someone may have meant who wrote a name in another grammar.
fn likely_name(text: &str) -> Option<String> {
    let dash = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = text.chars().take(64).map(dash).collect();
    let name = name.trim_matches('-');
    (!name.is_empty()).then(|| name.to_string())
}

fn unknown_key(entry: &Entry, fields: &BTreeMap<String, Shape>, path: &Path<'_>) -> Fault {
    let message = format!("{} has no field {}", path.words(), quoted(&entry.key));
    let known = || fields.keys().map(String::as_str);
    let hint = match (elsewhere(&entry.key, fields), nearest(&entry.key, known())) {
        (Some(place), _) => format!("here it is `{place}`"),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => format!("it has {}", list(known())),
    };
    Fault::new("UnknownKey", entry.key_span, &path.key(&entry.key), message).hint(hint)
}

/// What other tools call a field of ours, and where ours is.
const SYNONYMS: &[(&str, &str)] = &[
    ("depends_on", "after"),
    ("dependsOn", "after"),
    ("entrypoint", "command"),
    ("environment", "env"),
    ("healthcheck", "health"),
    ("initContainers", "init"),
    ("livenessProbe", "health.live"),
    ("replicas", "scale.min"),
    ("readinessProbe", "health.ready"),
    ("startupProbe", "health.startup"),
    ("stop_grace_period", "stop.gracePeriod"),
    ("terminationGracePeriodSeconds", "stop.gracePeriod"),
    ("volumeMounts", "volumes"),
    ("working_dir", "workingDir"),
    ("failureThreshold", "threshold"),
    ("periodSeconds", "interval"),
    ("timeoutSeconds", "timeout"),
    ("backoffLimit", "retries"),
];

/// Where a key belongs that is not known here: by another tool's name, or one level further down.
fn elsewhere(key: &str, fields: &BTreeMap<String, Shape>) -> Option<String> {
    let synonym = SYNONYMS
        .iter()
        .find(|(theirs, _)| *theirs == key)
        .map(|(_, ours)| *ours);
    let first = |ours: &str| ours.split('.').next().is_some_and(|first| fields.contains_key(first));
    let below = || {
        fields
            .iter()
            .find(|(_, shape)| shape.field(key).is_some())
            .map(|(name, _)| format!("{name}.{key}"))
    };
    synonym.filter(|ours| first(ours)).map(str::to_string).or_else(below)
}

fn wrong_type(node: &Node, shape: &Shape, path: &Path<'_>) -> Fault {
    let message = match node.data {
        Data::Null => format!("{} has no value; it must be {}", path.words(), wanted(&shape.kind)),
        _ => format!(
            "{} must be {}, not {}",
            path.words(),
            wanted(&shape.kind),
            found(&node.data)
        ),
    };
    let mut fault = Fault::new("WrongType", node.span, path, message);
    fault.hint = remedy(&node.data, &shape.kind, path);
    fault
}

fn wanted(kind: &ShapeKind) -> String {
    match kind {
        ShapeKind::Object { .. } => "a map".to_string(),
        ShapeKind::Map { keys, .. } => match keys {
            Some(grammar) => format!("a map, each key {}", grammar.what),
            None => "a map".to_string(),
        },
        ShapeKind::List { .. } => "a list".to_string(),
        ShapeKind::Text {
            grammar: Some(grammar), ..
        } => grammar.what.to_string(),
        ShapeKind::Text { .. } => "a text".to_string(),
        ShapeKind::Quantity { grammar, .. } => grammar.what.to_string(),
        ShapeKind::Integer { .. } => "a whole number".to_string(),
        ShapeKind::Boolean => "`true` or `false`".to_string(),
    }
}

fn found(data: &Data) -> String {
    match data {
        Data::Null => "empty".to_string(),
        Data::Boolean(value) => format!("`{value}`"),
        Data::Integer(value) => format!("the number {value}"),
        Data::Float(value) => format!("the number {value}"),
        Data::Text(text) => format!("the text {}", quoted(text)),
        Data::List(_) => "a list".to_string(),
        Data::Map(_) => "a map".to_string(),
    }
}

fn remedy(data: &Data, kind: &ShapeKind, path: &Path<'_>) -> Option<String> {
    let key = path.last_key();
    match (data, kind) {
        (Data::Null, ShapeKind::Object { required, .. }) if required.is_empty() => {
            Some(format!("write `{key}: {{}}` for the defaults, or remove the key"))
        }
        (Data::Null, _) => Some("give it a value, or remove the key".to_string()),
        (
            Data::Integer(value),
            ShapeKind::Text {
                grammar: Some(grammar), ..
            },
        ) if grammar.code == "InvalidDuration" => Some(format!("say the unit: `{value}s`")),
        (Data::Float(value), ShapeKind::Quantity { .. }) => Some(format!("write it as a text: \"{value}\"")),
        (Data::Integer(_) | Data::Float(_) | Data::Boolean(_), ShapeKind::Text { .. }) => {
            Some(format!("quote it: \"{}\"", scalar_text(data)))
        }
        (Data::Text(text), ShapeKind::Integer { .. }) if text.parse::<i64>().is_ok() => {
            Some(format!("remove the quotes: {text}"))
        }
        (Data::Text(text), ShapeKind::Boolean)
            if matches!(text.as_str(), "yes" | "no" | "on" | "off" | "true" | "false") =>
        {
            let value = matches!(text.as_str(), "yes" | "on" | "true");
            Some(format!("write {value}"))
        }
        (Data::Text(text), ShapeKind::List { .. }) if key == "command" || key == "args" => Some(format!(
            "one item a word, as no shell splits it: {}",
            words_as_list(text)
        )),
        (Data::Map(_), ShapeKind::List { .. }) => Some("begin each item with `- `".to_string()),
        (Data::Text(_) | Data::Integer(_), ShapeKind::List { .. }) => Some("put it in brackets: [...]".to_string()),
        (Data::List(_), ShapeKind::Map { .. }) => Some("write `key: value` lines, without `-`".to_string()),
        _ => None,
    }
}

fn words_as_list(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
    match text.contains(['"', '\'']) {
        true => r#"as in ["sh", "-c", "echo hello"]"#.to_string(),
        false => format!("[{}]", words.join(", ")),
    }
}

fn scalar_text(data: &Data) -> String {
    match data {
        Data::Boolean(value) => value.to_string(),
        Data::Integer(value) => value.to_string(),
        Data::Float(value) => value.to_string(),
        _ => String::new(),
    }
}

fn range(min: i64, max: i64) -> String {
    match (min, max) {
        (min, max) if max >= i64::from(u32::MAX) => format!("at least {min}"),
        (min, max) => format!("between {min} and {max}"),
    }
}
