//! YAML text -> trees with spans, one for each document.
//!
//! The reader takes the parser's events one at a time and builds the tree itself, because a manifest comes from anywhere:
//! aliases are expanded under a budget, nesting has a limit, a key may stand once, and nothing here recurses. Scalars are
//! those of YAML 1.2's core schema (`yes` is a text). The merge key `<<` works as everyone knows it from other tools.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as YamlSpan, StrInput, Tag};

use super::node::{Data, Entry, Node, Position, Span};

/// Deepest nesting of a document. The deepest field of a manifest lies at 10.
const MAX_DEPTH: usize = 64;

/// Most values of one document, those that its aliases stand for included. A manifest has about a hundred.
const MAX_NODES: usize = 100_000;

/// Most documents of one file.
const MAX_DOCUMENTS: usize = 10_000;

/// A fault of the text itself.
#[derive(Clone, Debug, PartialEq)]
pub struct YamlFault {
    pub span: Span,
    pub kind: YamlFaultKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum YamlFaultKind {
    /// What the parser says.
    Syntax(String),
    DuplicateKey {
        key: String,
        first: Position,
    },
    KeyIsNoScalar,
    Tag(String),
    /// A merge key whose value is no map.
    MergeOfNoMap,
    TooDeep(usize),
    TooManyValues(usize),
    /// Aliases stand for more values than a document may have.
    AliasesTooLarge(usize),
    /// An alias within what it stands for, or before it.
    AliasOfNothing,
    TooManyDocuments(usize),
}

/// Reads every document up to the first fault that leaves no tree; duplicate keys leave one (the first stays).
pub fn read(text: &str) -> (Vec<Node>, Vec<YamlFault>) {
    let mut reader = Reader::default();
    for event in Parser::<'_, StrInput<'_>>::new_from_str(text) {
        let step = event
            .map_err(syntax)
            .and_then(|(event, span)| reader.take(event, span_of(span)));
        if let Err(fault) = step {
            reader.faults.push(fault);
            break;
        }
    }
    (reader.documents, reader.faults)
}

#[derive(Default)]
struct Reader {
    documents: Vec<Node>,
    faults: Vec<YamlFault>,
    open: Vec<Frame>,
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
}

/// What an anchor stands for, how many values that is, and how deep they are nested.
struct Anchor {
    node: Node,
    nodes: usize,
    depth: usize,
}

/// A list or map that has not ended.
struct Frame {
    start: Span,
    anchor: usize,
    kind: FrameKind,
}

enum FrameKind {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<(String, Span, bool)>,
    },
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlFault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), span),
            Event::SequenceStart(anchor, tag) => self.begin(FrameKind::List(Vec::new()), anchor, tag.as_deref(), span),
            Event::MappingStart(anchor, tag) => self.begin(
                FrameKind::Map {
                    entries: Vec::new(),
                    key: None,
                },
                anchor,
                tag.as_deref(),
                span,
            ),
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::DocumentStart(_) => self.document(span),
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn document(&mut self, span: Span) -> Result<(), YamlFault> {
        self.nodes = 0;
        self.anchors.clear();
        match self.documents.len() < MAX_DOCUMENTS {
            true => Ok(()),
            false => fault(span, YamlFaultKind::TooManyDocuments(MAX_DOCUMENTS)),
        }
    }

    fn begin(&mut self, kind: FrameKind, anchor: usize, tag: Option<&Tag>, span: Span) -> Result<(), YamlFault> {
        no_tag(tag, span)?;
        if self.open.len() >= MAX_DEPTH {
            return fault(span, YamlFaultKind::TooDeep(MAX_DEPTH));
        }
        if self.wants_key() {
            return fault(span, YamlFaultKind::KeyIsNoScalar);
        }
        self.open.push(Frame {
            start: span,
            anchor,
            kind,
        });
        Ok(())
    }

    fn end(&mut self, span: Span) -> Result<(), YamlFault> {
        let frame = self.open.pop().expect("the parser ends only what it began");
        let data = match frame.kind {
            FrameKind::List(items) => Data::List(items),
            FrameKind::Map { entries, .. } => Data::Map(self.unique(merge_keys(entries)?)),
        };
        let end = end_of(&data).unwrap_or(span.end);
        let node = Node {
            span: Span {
                start: frame.start.start,
                end,
            },
            data,
        };
        self.place(node, frame.anchor)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), YamlFault> {
        let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if !is_text {
            no_tag(tag, span)?;
        }
        let plain = style == ScalarStyle::Plain && !is_text;
        if self.wants_key() && anchor == 0 {
            self.key(text.to_string(), span, plain);
            return Ok(());
        }
        let data = if plain && !self.wants_key() {
            plain_scalar(text)
        } else {
            Data::Text(text.to_string())
        };
        self.place(Node { span, data }, anchor)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), YamlFault> {
        let Some(Anchor { node, nodes, depth }) = self.anchors.get(&anchor) else {
            return fault(span, YamlFaultKind::AliasOfNothing);
        };
        if self.nodes + nodes > MAX_NODES {
            return fault(span, YamlFaultKind::AliasesTooLarge(MAX_NODES));
        }
        if self.open.len() + depth > MAX_DEPTH {
            return fault(span, YamlFaultKind::TooDeep(MAX_DEPTH));
        }
        // The one value that `place` counts is among them.
        self.nodes += nodes.saturating_sub(1);
        let node = node.clone();
        self.place(node, 0)
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), YamlFault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return fault(node.span, YamlFaultKind::TooManyValues(MAX_NODES));
        }
        if anchor != 0 {
            self.keep(anchor, &node)?;
        }
        if self.wants_key() {
            let Data::Text(text) = &node.data else {
                return fault(node.span, YamlFaultKind::KeyIsNoScalar);
            };
            self.key(text.clone(), node.span, false);
            return Ok(());
        }
        match self.open.last_mut().map(|frame| &mut frame.kind) {
            None => self.documents.push(node),
            Some(FrameKind::List(items)) => items.push(node),
            Some(FrameKind::Map { entries, key }) => {
                let (text, key_span, merge) = key.take().expect("a key was asked for above");
                let key = if merge { MERGE_KEY.to_string() } else { text };
                entries.push(Entry {
                    key,
                    key_span,
                    value: node,
                });
            }
        }
        Ok(())
    }

    /// Remembers what an anchor stands for. The copy counts too, or nested anchors would be a way to use up the memory.
    fn keep(&mut self, anchor: usize, node: &Node) -> Result<(), YamlFault> {
        let (nodes, depth) = measure(node);
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return fault(node.span, YamlFaultKind::AliasesTooLarge(MAX_NODES));
        }
        let node = node.clone();
        self.anchors.insert(anchor, Anchor { node, nodes, depth });
        Ok(())
    }

    fn wants_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Frame {
                kind: FrameKind::Map { key: None, .. },
                ..
            })
        )
    }

    fn key(&mut self, text: String, span: Span, plain: bool) {
        if let Some(Frame {
            kind: FrameKind::Map { key, .. },
            ..
        }) = self.open.last_mut()
        {
            let merge = plain && text == "<<";
            *key = Some((text, span, merge));
        }
    }

    /// The entries whose key stands for the first time; each other one is a fault.
    fn unique(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut first: HashMap<String, Position> = HashMap::with_capacity(entries.len());
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            match first.get(&entry.key) {
                None => {
                    first.insert(entry.key.clone(), entry.key_span.start);
                    kept.push(entry);
                }
                Some(&first) => {
                    let kind = YamlFaultKind::DuplicateKey { key: entry.key, first };
                    self.faults.push(YamlFault {
                        span: entry.key_span,
                        kind,
                    });
                }
            }
        }
        kept
    }
}

/// Stands for a plain `<<` until its map is whole; no text of a file can be this one, since a NUL is refused before.
const MERGE_KEY: &str = "\0<<";

/// Entries of merged maps come last, and only where the map itself has no such key (yaml.org/type/merge.html).
fn merge_keys(entries: Vec<Entry>) -> Result<Vec<Entry>, YamlFault> {
    if !entries.iter().any(|entry| entry.key == MERGE_KEY) {
        return Ok(entries);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.key == MERGE_KEY);
    for merge in merges {
        let maps = match merge.value.data {
            Data::List(items) => items,
            _ => vec![merge.value],
        };
        for map in maps {
            let Data::Map(entries) = map.data else {
                return fault(merge.key_span, YamlFaultKind::MergeOfNoMap);
            };
            let new = entries
                .into_iter()
                .filter(|entry| own.iter().all(|known| known.key != entry.key));
            own.extend(new.collect::<Vec<_>>());
        }
    }
    Ok(own)
}

/// How many values, and how many levels of lists and maps. Recurses no deeper than [`MAX_DEPTH`].
fn measure(node: &Node) -> (usize, usize) {
    let sum = |(nodes, depth): (usize, usize), node: &Node| {
        let (more, below) = measure(node);
        (nodes + more, depth.max(below + 1))
    };
    match &node.data {
        Data::List(items) => items.iter().fold((1, 1), sum),
        Data::Map(entries) => entries.iter().map(|entry| &entry.value).fold((1, 1), sum),
        _ => (1, 0),
    }
}

fn end_of(data: &Data) -> Option<Position> {
    match data {
        Data::List(items) => items.last().map(|node| node.span.end),
        Data::Map(entries) => entries.last().map(|entry| entry.value.span.end),
        _ => None,
    }
}

/// YAML 1.2.2, section 10.3.2.
fn plain_scalar(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "true" | "True" | "TRUE" => Data::Boolean(true),
        "false" | "False" | "FALSE" => Data::Boolean(false),
        _ => integer(text)
            .or_else(|| float(text))
            .unwrap_or_else(|| Data::Text(text.to_string())),
    }
}

fn integer(text: &str) -> Option<Data> {
    let unsigned = |digits: &&str| !digits.starts_with(['+', '-']);
    let radix = |prefix: &str, radix| {
        text.strip_prefix(prefix)
            .filter(unsigned)
            .and_then(|digits| i64::from_str_radix(digits, radix).ok())
    };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let decimal = || match !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        false => None,
    };
    decimal()
        .or_else(|| radix("0x", 16))
        .or_else(|| radix("0o", 8))
        .map(Data::Integer)
}

fn float(text: &str) -> Option<Data> {
    let looks = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.chars().any(|c| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    let value = looks
        .then(|| text.parse::<f64>().ok())
        .flatten()
        .filter(|value| value.is_finite())?;
    Some(Data::Float(value))
}

fn no_tag(tag: Option<&Tag>, span: Span) -> Result<(), YamlFault> {
    match tag {
        None => Ok(()),
        Some(tag) => fault(span, YamlFaultKind::Tag(tag.to_string())),
    }
}

fn fault<T>(span: Span, kind: YamlFaultKind) -> Result<T, YamlFault> {
    Err(YamlFault { span, kind })
}

fn syntax(error: ScanError) -> YamlFault {
    let at = position(*error.marker());
    // The parser looks ahead, and has a limit of its own for brackets.
    let kind = match error.info() {
        "recursion limit exceeded" => YamlFaultKind::TooDeep(MAX_DEPTH),
        info => YamlFaultKind::Syntax(info.to_string()),
    };
    YamlFault {
        span: Span { start: at, end: at },
        kind,
    }
}

fn span_of(span: YamlSpan) -> Span {
    Span {
        start: position(span.start),
        end: position(span.end),
    }
}

/// The parser counts lines from 1 and columns from 0.
fn position(marker: Marker) -> Position {
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position {
        line: small(marker.line()),
        column: small(marker.col()).saturating_add(1),
    }
}
