//! Overrides merged over a spec: maps merge, lists of named things merge by their name (files and volumes by their
//! path), other lists are replaced, `null` removes.
//!
//! Whatever an override touches stands at the override's line afterwards; the rest keeps its own.

use super::node::{Data, Entry, Node};
use super::shape::{Shape, ShapeKind, Unique};

/// `over` merged over `base`, both of `shape`.
pub fn merge(base: &Node, over: &Node, shape: &Shape) -> Node {
    let data = match (&base.data, &over.data, &shape.kind) {
        (Data::Map(base), Data::Map(over), _) => Data::Map(merge_maps(base, over, shape)),
        (
            Data::List(base),
            Data::List(over),
            ShapeKind::List {
                items,
                unique: Unique::By(key),
                ..
            },
        ) => Data::List(merge_lists(base, over, items, key)),
        _ => return without_nulls(over),
    };
    Node { span: over.span, data }
}

fn merge_maps(base: &[Entry], over: &[Entry], shape: &Shape) -> Vec<Entry> {
    let over_of = |key: &str| over.iter().find(|entry| entry.key == key);
    let kept = base.iter().filter_map(|entry| match over_of(&entry.key) {
        None => Some(entry.clone()),
        Some(Entry {
            value: Node { data: Data::Null, .. },
            ..
        }) => None,
        Some(over) => {
            let value = match below(shape, &entry.key) {
                Some(shape) => merge(&entry.value, &over.value, shape),
                None => over.value.clone(),
            };
            Some(Entry {
                key: entry.key.clone(),
                key_span: over.key_span,
                value,
            })
        }
    });
    let new = over
        .iter()
        .filter(|entry| base.iter().all(|known| known.key != entry.key));
    kept.chain(new.filter_map(entry_without_nulls)).collect()
}

fn merge_lists(base: &[Node], over: &[Node], items: &Shape, key: &str) -> Vec<Node> {
    let same = |one: &Node, other: &Node| one.text_at(key).is_some() && one.text_at(key) == other.text_at(key);
    let kept = base.iter().map(|item| match over.iter().find(|over| same(item, over)) {
        Some(over) => merge(item, over, items),
        None => item.clone(),
    });
    let new = over.iter().filter(|over| !base.iter().any(|item| same(item, over)));
    kept.chain(new.map(without_nulls)).collect()
}

/// The shape of what stands at `key`; `None` for a key that the shape does not know, as `x-*`.
fn below<'a>(shape: &'a Shape, key: &str) -> Option<&'a Shape> {
    match &shape.kind {
        ShapeKind::Object { fields, .. } => fields.get(key),
        ShapeKind::Map { values, .. } => Some(values),
        _ => None,
    }
}

/// What is new in an override: there is nothing that its nulls could remove.
fn without_nulls(node: &Node) -> Node {
    let data = match &node.data {
        Data::Map(entries) => Data::Map(entries.iter().filter_map(entry_without_nulls).collect()),
        Data::List(items) => Data::List(items.iter().map(without_nulls).collect()),
        scalar => scalar.clone(),
    };
    Node { span: node.span, data }
}

fn entry_without_nulls(entry: &Entry) -> Option<Entry> {
    let some = !matches!(entry.value.data, Data::Null);
    some.then(|| Entry {
        key: entry.key.clone(),
        key_span: entry.key_span,
        value: without_nulls(&entry.value),
    })
}
