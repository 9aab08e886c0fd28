//! The rules of `crate::rules`, evaluated over a tree: each fault with its place, names and lines.

use super::{Fault, Path};
use crate::parse::fault::{list, nearest_or_all};
use crate::parse::node::{Data, Entry, Node, Span};
use crate::rules::{Offender, Rule};

/// Faults of a document's tree against `rules`.
pub fn check(root: &Node, rules: &[Rule], faults: &mut Vec<Fault>) {
    for rule in rules {
        for place in rule.places.iter().chain(rule.parser_places) {
            let steps: Vec<&str> = place.split('/').collect();
            visit(root, None, &steps, &Path::ROOT, &mut |part, path| {
                check_part(rule, part, path, faults)
            });
        }
    }
}

/// A map of the document, and the key at which it stands.
struct Part<'a> {
    node: &'a Node,
    entry: Option<&'a Entry>,
}

fn visit<'a>(
    node: &'a Node,
    entry: Option<&'a Entry>,
    steps: &[&str],
    path: &Path<'_>,
    found: &mut impl FnMut(&Part<'a>, &Path<'_>),
) {
    let Some((step, rest)) = steps.split_first() else {
        if matches!(node.data, Data::Map(_)) {
            found(&Part { node, entry }, path);
        }
        return;
    };
    if *step == "[]" {
        for (index, item) in node.items().iter().enumerate() {
            visit(item, None, rest, &path.index(index), found);
        }
        return;
    }
    for entry in node.entries().iter().filter(|entry| *step == "*" || entry.key == *step) {
        visit(&entry.value, Some(entry), rest, &path.key(&entry.key), found);
    }
}

fn check_part(rule: &Rule, part: &Part<'_>, path: &Path<'_>, faults: &mut Vec<Fault>) {
    for offender in rule.test.offenders(part.node) {
        faults.push(fault(rule, part, &offender, path));
    }
}

/// The fault, at what is wrong.
fn fault(rule: &Rule, part: &Part<'_>, offender: &Offender<'_>, path: &Path<'_>) -> Fault {
    let place = part.entry.map_or(part.node.span, |entry| entry.key_span);
    match offender {
        Offender::Part => at_field(part.node, rule.field, path, place, &mut |span, path| {
            let mut fault = words(rule, part, offender, path, span);
            fault.because = rule.cause.map(str::to_string);
            fault
        }),
        Offender::Key(entry, other) => at_field(part.node, rule.field, path, place, &mut |_, path| {
            let fault = words(rule, part, offender, &path.key(&entry.key), entry.key_span);
            match rule.because.zip(*other) {
                Some((because, other)) => fault.because(because(entry, other)),
                None => fault,
            }
        }),
        Offender::Fields(fields) => {
            let second = fields[1];
            words(rule, part, offender, &path.key(&second.key), second.key_span)
        }
        Offender::Item(index, key) => at_field(part.node, rule.field, path, place, &mut |span, path| {
            let list = crate::rules::at(part.node, rule.field);
            let item = list.and_then(|list| list.items().get(*index));
            let item_path = path.index(*index);
            let field = key.and_then(|key| Some((key, item?.get(key)?)));
            match (field, item) {
                (Some((key, value)), _) => words(rule, part, offender, &item_path.key(key), value.span),
                (None, Some(item)) => words(rule, part, offender, &item_path, item.span),
                (None, None) => words(rule, part, offender, path, span),
            }
        }),
        Offender::FieldOfItem(field, index, entry) => at_field(part.node, field, path, place, &mut |_, path| {
            words(
                rule,
                part,
                offender,
                &path.index(*index).key(&entry.key),
                entry.key_span,
            )
        }),
    }
}

/// Runs `make` at the field of a part, or at the part where there is no such field: a word is meant by its value, what
/// has parts by its key.
fn at_field(
    node: &Node,
    field: &str,
    path: &Path<'_>,
    span: Span,
    make: &mut dyn FnMut(Span, &Path<'_>) -> Fault,
) -> Fault {
    let (first, rest) = field.split_once('.').unwrap_or((field, ""));
    let Some(entry) = node.entry(first) else {
        return make(span, path);
    };
    let is_word = !matches!(entry.value.data, Data::Map(_) | Data::List(_));
    let span = if is_word { entry.value.span } else { entry.key_span };
    let path = path.key(&entry.key);
    match rest.is_empty() {
        true => make(span, &path),
        false => at_field(&entry.value, rest, &path, span, make),
    }
}

fn words(rule: &Rule, part: &Part<'_>, offender: &Offender<'_>, path: &Path<'_>, span: Span) -> Fault {
    let name = |entry: &Entry| format!("`{}`", entry.key);
    let (mut message, mut hint) = (rule.message.to_string(), rule.hint.map(str::to_string));
    if let Some(said) = rule.said {
        let index = match offender {
            Offender::Item(index, _) => *index,
            _ => 0,
        };
        let (own, own_hint) = said(part.node, index);
        (message, hint) = (own, own_hint.or(hint));
    }
    if let Some(entry) = part.entry {
        message = message.replace("{name}", &name(entry));
    }
    match offender {
        Offender::Key(entry, _) => {
            message = message.replace("{key}", &name(entry));
            if !rule.known.is_empty() {
                let known = rule.test.known(part.node);
                hint = Some(nearest_or_all(&entry.key, known, rule.known));
            }
        }
        Offender::Fields(fields) => {
            let said = list(fields.iter().map(|entry| entry.key.as_str()));
            message = message.replace("{count}", &fields.len().to_string());
            message = message
                .replace("{first}", &name(fields[0]))
                .replace("{second}", &name(fields[1]));
            hint = hint.map(|hint| hint.replace("{said}", &said));
        }
        _ => {}
    }
    // Of a choice the place is the part, and not the field that is one too many.
    let it = match offender {
        Offender::Fields(_) => path.parent().map_or_else(|| path.words(), Path::words),
        _ => path.words(),
    };
    let around = path.parent().map_or_else(String::new, Path::words);
    message = message
        .replace("{it}", &it)
        .replace("{field}", &it)
        .replace("{around}", &around);
    let mut fault = Fault::new(rule.code, span, path, message);
    fault.hint = hint;
    fault
}
