//! What a rule asks of one part of a document: evaluated over the parser's tree, and written as CEL for an API server.
//!
//! A field that is missing or of a wrong type is a fault of shape: no test fails by it.

use crate::manifest::{ByteQuantity, HumanDuration, Percent};
use crate::parse::node::{Data, Entry, Node};

/// A question about one map of a document. Fields are named from there, as in `scale.on`.
#[derive(Debug)]
pub enum Test {
    /// The field is there.
    Has(&'static str),
    /// The field is there, and not empty.
    Filled(&'static str),
    /// The field is this word.
    Says(&'static str, &'static str),
    /// The field is this number.
    Counts(&'static str, i64),
    Not(&'static Test),
    All(&'static [Test]),
    Any(&'static [Test]),
    /// The second is asked only where the first is so.
    When(&'static Test, &'static Test),
    /// Some item of the list passes the test.
    Some(&'static str, &'static Test),
    /// Every item of the list passes the test.
    Each(&'static str, &'static Test),
    /// Where an item of the list has the key, the last field is there.
    ItemsNeed(&'static str, &'static str, &'static str),
    /// The map has so many keys.
    Size(&'static str, usize),
    /// No value of the map has the key.
    NoneHas(&'static str, &'static str),
    /// The list has no more items than that.
    AtMost(&'static str, usize),
    /// At most one of the fields is there.
    OneOf(&'static [&'static str]),
    /// The first number, if there is one, is not smaller than the second, or than that number where there is no second.
    NotLess(&'static str, &'static str, i64),
    /// No key of the first map is one of the second.
    Apart(&'static str, &'static str),
    /// No key of the map begins so.
    NoKeyBegins(&'static str, &'static str),
    /// Each key of the map is an item of the list, or that word where there is no list.
    KeysListed(&'static str, &'static str, &'static str),
    /// Each of its own keys is one of these.
    KeysAmong(&'static [&'static str]),
    /// The duration is longer than nothing.
    Lasts(&'static str),
    /// The size is not smaller.
    Holds(&'static str, ByteQuantity),
    /// The `weight` of each item is larger than that of the one before, from 1% on, and none is 100%.
    Grows(&'static str),
}

/// What of a part fails a test that looks at several things.
#[derive(Clone, Debug)]
pub(crate) enum Offender<'a> {
    /// The part as a whole.
    Part,
    /// A key, and what it stands in the way of.
    Key(&'a Entry, Option<&'a Entry>),
    /// An item of a list, by its index, and the field of it that is wrong.
    Item(usize, Option<&'static str>),
    /// A field of an item of the list, by its index.
    FieldOfItem(&'static str, usize, &'a Entry),
    /// Fields of which only one may be there.
    Fields(Vec<&'a Entry>),
}

impl Test {
    pub(crate) fn holds(&self, node: &Node) -> bool {
        self.offenders(node).is_empty()
    }

    /// Everything in `node` that fails it.
    pub(crate) fn offenders<'a>(&self, node: &'a Node) -> Vec<Offender<'a>> {
        match self {
            Self::OneOf(fields) => {
                let said = node
                    .entries()
                    .iter()
                    .filter(|entry| fields.contains(&entry.key.as_str()));
                let said: Vec<&Entry> = said.collect();
                if said.len() > 1 {
                    vec![Offender::Fields(said)]
                } else {
                    Vec::new()
                }
            }
            Self::Apart(one, other) => {
                let others = entries(node, other);
                let both = |entry: &'a Entry| {
                    let other = others.iter().find(|other| other.key == entry.key)?;
                    Some(Offender::Key(entry, Some(other)))
                };
                entries(node, one).iter().filter_map(both).collect()
            }
            Self::NoKeyBegins(field, start) => keys(entries(node, field), |key| key.starts_with(start)),
            Self::KeysListed(field, ..) => {
                let listed = self.known(node);
                keys(entries(node, field), |key| !listed.contains(&key))
            }
            Self::When(test, then) if test.holds(node) => then.offenders(node),
            Self::KeysAmong(known) => keys(node.entries(), |key| !known.contains(&key)),
            Self::Grows(field) => {
                let mut before = 0;
                let mut fails = Vec::new();
                for (index, share) in shares(node, field) {
                    if share == 100 || share <= before {
                        fails.push(Offender::Item(index, Some("weight")));
                    }
                    before = before.max(share);
                }
                fails
            }
            Self::Each(field, test) => {
                let items = items(node, field).iter().enumerate();
                let fails = items.filter(|(_, item)| !test.holds(item));
                fails.map(|(index, _)| Offender::Item(index, test.field())).collect()
            }
            Self::AtMost(field, most) => {
                let count = items(node, field).len();
                (*most..count).map(|index| Offender::Item(index, None)).collect()
            }
            Self::ItemsNeed(list, key, field) if at(node, field).is_none() => {
                let items = items(node, list).iter().enumerate();
                let said =
                    |(index, item): (usize, &'a Node)| Some(Offender::FieldOfItem(list, index, item.entry(key)?));
                items.filter_map(said).collect()
            }
            _ if self.is_so(node) => Vec::new(),
            _ => vec![Offender::Part],
        }
    }

    /// Of tests that are about a part as a whole.
    fn is_so(&self, node: &Node) -> bool {
        match self {
            Self::Has(field) => at(node, field).is_some(),
            Self::Filled(field) => at(node, field).is_some_and(is_filled),
            Self::Says(field, word) => at(node, field).and_then(Node::text) == Some(word),
            Self::Counts(field, number) => at(node, field).and_then(Node::integer) == Some(*number),
            Self::Not(test) => !test.holds(node),
            Self::All(tests) => tests.iter().all(|test| test.holds(node)),
            Self::Any(tests) => tests.iter().any(|test| test.holds(node)),
            Self::When(test, _) => !test.holds(node),
            Self::ItemsNeed(..) => true,
            Self::Size(field, size) => entries(node, field).len() == *size,
            Self::NoneHas(field, key) => entries(node, field).iter().all(|entry| entry.value.get(key).is_none()),
            Self::Some(field, test) => items(node, field).iter().any(|item| test.holds(item)),
            Self::NotLess(field, other, usual) => {
                let number = |field: &str| at(node, field).and_then(Node::integer);
                number(field).is_none_or(|value| value >= number(other).unwrap_or(*usual))
            }
            Self::Lasts(field) => {
                let text = at(node, field).and_then(Node::text);
                text.and_then(|text| text.parse::<HumanDuration>().ok()) != Some(HumanDuration::from_millis(0))
            }
            Self::Holds(field, least) => at(node, field).and_then(bytes).is_none_or(|size| size >= *least),
            _ => self.offenders(node).is_empty(),
        }
    }

    /// As CEL, of the map that is called `of` there.
    pub fn cel(&self, of: &str) -> String {
        match self {
            Self::Has(field) => has(of, field),
            Self::Filled(field) => format!("{} && size({of}.{field}) > 0", has(of, field)),
            Self::Says(field, word) => format!("{} && {of}.{field} == '{word}'", has(of, field)),
            Self::Counts(field, number) => format!("{} && {of}.{field} == {number}", has(of, field)),
            Self::Not(test) => format!("!({})", test.cel(of)),
            Self::All(tests) => joined(tests, of, " && "),
            Self::Any(tests) => joined(tests, of, " || "),
            Self::When(test, then) => format!("!({}) || ({})", test.cel(of), then.cel(of)),
            Self::Some(field, test) => {
                format!("{} && {of}.{field}.exists(item, {})", has(of, field), test.cel("item"))
            }
            Self::Each(field, test) => unless(of, field, &format!("{of}.{field}.all(item, {})", test.cel("item"))),
            Self::ItemsNeed(list, key, field) => {
                let unsaid = unless(of, list, &format!("{of}.{list}.all(item, !has(item.{key}))"));
                format!("({}) || {unsaid}", has(of, field))
            }
            Self::Size(field, size) => format!("{} && size({of}.{field}) == {size}", has(of, field)),
            Self::NoneHas(field, key) => unless(
                of,
                field,
                &format!("{of}.{field}.all(key, !has({of}.{field}[key].{key}))"),
            ),
            Self::AtMost(field, most) => unless(of, field, &format!("size({of}.{field}) <= {most}")),
            Self::OneOf(fields) => {
                let said: Vec<String> = fields.iter().map(|field| format!("has({of}.{field})")).collect();
                format!("[{}].filter(said, said).size() <= 1", said.join(", "))
            }
            Self::NotLess(field, other, usual) => {
                let least = format!("(has({of}.{other}) ? {of}.{other} : {usual})");
                unless(of, field, &format!("{of}.{field} >= {least}"))
            }
            Self::Apart(one, other) => {
                let apart = format!("{of}.{one}.all(key, !(key in {of}.{other}))");
                format!("!has({of}.{other}) || {}", unless(of, one, &apart))
            }
            Self::NoKeyBegins(field, start) => {
                unless(of, field, &format!("{of}.{field}.all(key, !key.startsWith('{start}'))"))
            }
            Self::KeysListed(field, list, usual) => {
                let listed = format!("(has({of}.{list}) ? {of}.{list} : ['{usual}'])");
                unless(of, field, &format!("{of}.{field}.all(key, key in {listed})"))
            }
            Self::KeysAmong(known) => {
                let known: Vec<String> = known.iter().map(|key| format!("'{key}'")).collect();
                format!("{of}.all(key, key in [{}])", known.join(", "))
            }
            Self::Lasts(field) => unless(of, field, &format!("{of}.{field}.matches('[1-9]')")),
            Self::Holds(field, least) => unless(of, field, &not_smaller(&format!("{of}.{field}"), least.bytes())),
            Self::Grows(field) => {
                let share = "int(step.weight.replace('%', ''))";
                let sorted = format!("{of}.{field}.map(step, {share}).isSorted()");
                let known = "step.weight != '0%' && step.weight != '100%'";
                let once = format!("{of}.{field}.exists_one(other, other.weight == step.weight)");
                let each = format!("{of}.{field}.all(step, {known} && {once})");
                unless(of, field, &format!("({sorted} && {each})"))
            }
        }
    }

    /// The one field that it looks at, if that is one.
    fn field(&self) -> Option<&'static str> {
        match self {
            Self::Says(field, _) => Some(field),
            _ => None,
        }
    }

    /// The keys that it knows, of those that it would take.
    pub(crate) fn known<'a>(&self, node: &'a Node) -> Vec<&'a str> {
        match self {
            Self::KeysListed(_, list, usual) => match at(node, list) {
                Some(list) => list.items().iter().filter_map(Node::text).collect(),
                None => vec![usual],
            },
            Self::KeysAmong(known) => known.to_vec(),
            _ => Vec::new(),
        }
    }

    /// The fields that it chooses among, in words.
    pub(crate) fn choices(&self) -> String {
        let Self::OneOf(fields) = self else {
            return String::new();
        };
        fields
            .iter()
            .map(|field| format!("`{field}`"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// What stands at a field, as in `scale.on`.
pub(crate) fn at<'a>(node: &'a Node, field: &str) -> Option<&'a Node> {
    field.split('.').try_fold(node, |node, key| node.get(key))
}

fn entries<'a>(node: &'a Node, field: &str) -> &'a [Entry] {
    at(node, field).map(Node::entries).unwrap_or_default()
}

fn items<'a>(node: &'a Node, field: &str) -> &'a [Node] {
    at(node, field).map(Node::items).unwrap_or_default()
}

fn keys<'a>(entries: &'a [Entry], fails: impl Fn(&str) -> bool) -> Vec<Offender<'a>> {
    let failing = entries.iter().filter(|entry| fails(&entry.key));
    failing.map(|entry| Offender::Key(entry, None)).collect()
}

fn is_filled(node: &Node) -> bool {
    !node.items().is_empty() || !node.entries().is_empty()
}

/// The weights that can be read; what cannot is a fault of its own.
pub(crate) fn shares(node: &Node, field: &str) -> Vec<(usize, u8)> {
    let steps = items(node, field).iter().enumerate();
    let share = |step: &Node| Some(step.text_at("weight")?.parse::<Percent>().ok()?.get());
    steps.filter_map(|(index, step)| Some((index, share(step)?))).collect()
}

/// As the reader of quantities takes it: a number or a text.
fn bytes(node: &Node) -> Option<ByteQuantity> {
    match &node.data {
        Data::Integer(bytes) => u64::try_from(*bytes).ok().map(ByteQuantity::from_bytes),
        Data::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// `has` sees one step; the steps before it have to be there.
fn has(of: &str, field: &str) -> String {
    let ends = field.match_indices('.').map(|(at, _)| at).chain([field.len()]);
    let steps: Vec<String> = ends.map(|end| format!("has({of}.{})", &field[..end])).collect();
    steps.join(" && ")
}

fn unless(of: &str, field: &str, so: &str) -> String {
    let steps = has(of, field);
    match field.contains('.') {
        true => format!("!({steps}) || {so}"),
        false => format!("!{steps} || {so}"),
    }
}

/// A text by its length, its unit and its first letters: Kubernetes 1.33 takes one that may be a number for as long as a
/// request, and refuses a rule that reads it to its end. What is too small by a fraction passes.
fn not_smaller(value: &str, least: u64) -> String {
    let digits: Vec<String> = (0..10).map(|digit| format!("'{digit}'")).collect();
    let has_no_unit = format!("[{}].exists(digit, {value}.endsWith(digit))", digits.join(", "));
    let smaller = [("Ki", 1 << 10), ("k", 1000), ("", 1)].map(|(unit, bytes)| {
        let is_in_it = match unit {
            "" => has_no_unit.clone(),
            unit => format!("{value}.endsWith('{unit}')"),
        };
        let first = format!("{}{unit}", least.div_ceil(bytes));
        let length = first.len();
        format!("!({is_in_it} && (size({value}) < {length} || size({value}) == {length} && {value} < '{first}'))")
    });
    format!("(type({value}) == int ? {value} >= {least} : {})", smaller.join(" && "))
}

fn joined(tests: &[Test], of: &str, by: &str) -> String {
    let each = tests.iter().map(|test| format!("({})", test.cel(of)));
    each.collect::<Vec<_>>().join(by)
}
