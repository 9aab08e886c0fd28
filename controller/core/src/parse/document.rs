//! One document: from its tree to its typed manifest, with the lines that it came from.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use super::check::{check_app, check_target};
use super::fault::{Fault, nearest, quoted};
use super::merge::merge;
use super::node::{Data, Entry, Node, Position, Span};
use super::path::Path;
use super::shape::Shape;
use super::source::Source;
use super::walk::walk;
use super::yaml::{YamlFault, YamlFaultKind};
use crate::diagnostic::{Diagnostic, Location};
use crate::manifest::{API_VERSION, App, Manifest};

/// A manifest without faults.
#[derive(Clone, Debug)]
pub struct Document {
    /// As the user named the file.
    pub file: PathBuf,
    pub manifest: Manifest,
    /// Where each field stands.
    pub spans: SpanMap,
}

/// From JSON pointer (`/spec/services/web/image`) to place. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SpanMap {
    source: Arc<Source>,
    root: Arc<Node>,
}

impl Document {
    /// Folder that the manifest's relative paths start from.
    pub fn folder(&self) -> &FilePath {
        match self.file.parent() {
            Some(folder) if folder != FilePath::new("") => folder,
            _ => FilePath::new("."),
        }
    }

    /// As the file says it, defaults left out.
    pub fn value(&self) -> serde_json::Value {
        self.spans.root.to_json()
    }

    /// The document with the overrides for `target` merged in, and none left; itself if it is a Target. What an override
    /// touches stands at the override's line. Whatever target it is, `parse_files` has checked the result.
    ///
    /// # Errors
    /// None for a document from `parse_files` and a target that its overrides name.
    pub fn merged(&self, target: &str) -> Result<Self, Vec<Diagnostic>> {
        let Manifest::App(_) = self.manifest else {
            return Ok(self.clone());
        };
        let root = merged_tree(&self.spans.root, target);
        match typed::<App>(&root) {
            Ok(app) => {
                let spans = SpanMap {
                    source: self.spans.source.clone(),
                    root: Arc::new(root),
                };
                Ok(Self {
                    file: self.file.clone(),
                    manifest: Manifest::App(app),
                    spans,
                })
            }
            Err(fault) => Err(vec![diagnostic(*fault, &self.spans.source)]),
        }
    }
}

impl SpanMap {
    /// The value at `pointer`; `None` where the file says nothing, as for a default.
    pub fn value(&self, pointer: &str) -> Option<Span> {
        self.root.at(pointer).map(|found| found.node.span)
    }

    /// The key at `pointer`; for an item of a list, the item.
    pub fn key(&self, pointer: &str) -> Option<Span> {
        self.root.at(pointer).map(|found| found.key_span)
    }

    /// The line that says `pointer`: from its key to the end of a short value, else its key. Where the file does not say
    /// it, the nearest field around it that it does.
    pub fn locate(&self, pointer: &str) -> Location {
        let mut known = pointer;
        let found = loop {
            match self.root.at(known) {
                Some(found) => break Some(found),
                None => known = known.rfind('/').map_or("", |at| &known[..at]),
            }
            if known.is_empty() {
                break self.root.at("");
            }
        };
        let span = found.map_or_else(Span::default, |found| match (&found.node.data, known.is_empty()) {
            (_, true) => Span {
                start: found.node.span.start,
                end: found.node.span.start,
            },
            (Data::Map(_) | Data::List(_), _) => found.key_span,
            _ if found.key_span == found.node.span => found.key_span,
            _ => Span {
                start: found.key_span.start,
                end: found.node.span.end,
            },
        });
        self.source.locate(span, Some(pointer.to_string()))
    }

    /// A fault that a later step found, with its line.
    pub fn diagnostic(&self, fault: &crate::fault::Fault) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(fault.code.clone(), fault.message.clone());
        diagnostic.hint.clone_from(&fault.hint);
        diagnostic.at(self.locate(&fault.pointer))
    }
}

/// The document of a tree, or its faults.
pub fn of_tree(root: Node, source: &Arc<Source>) -> Result<Document, Vec<Fault>> {
    let mut faults = Vec::new();
    let Some(kind) = kind_of(&root, &mut faults) else {
        return Err(faults);
    };
    match kind {
        Kind::App => {
            walk(&root, Shape::app(), &Path::ROOT, &mut faults);
            check_app(&root, &mut faults);
            if faults.is_empty() {
                faults.extend(override_faults(&root));
            }
        }
        Kind::Target => {
            walk(&root, Shape::target(), &Path::ROOT, &mut faults);
            check_target(&root, &mut faults);
        }
    }
    faults
        .iter_mut()
        .filter(|fault| fault.pointer == "/apiVersion")
        .for_each(|fault| fault.code = "UnknownApiVersion");
    // A document of another version is not judged by the schema of this one.
    if root.get("apiVersion").is_some() && faults.iter().any(|fault| fault.code == "UnknownApiVersion") {
        faults.retain(|fault| fault.code == "UnknownApiVersion");
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let manifest = match kind {
        Kind::App => typed(&root).map(Manifest::App),
        Kind::Target => typed(&root).map(Manifest::Target),
    };
    let spans = SpanMap {
        source: source.clone(),
        root: Arc::new(root),
    };
    manifest
        .map(|manifest| Document {
            file: source.path.clone(),
            manifest,
            spans,
        })
        .map_err(|fault| vec![*fault])
}

#[derive(Clone, Copy)]
enum Kind {
    App,
    Target,
}

/// What kind of document it is; else the one fault that says why that cannot be known.
fn kind_of(root: &Node, faults: &mut Vec<Fault>) -> Option<Kind> {
    let start = Span {
        start: root.span.start,
        end: root.span.start,
    };
    if !matches!(root.data, Data::Map(_)) {
        let fault = Fault::new("WrongType", start, &Path::ROOT, "a manifest is a map, and this is none");
        faults.push(fault.hint(format!("it begins with `apiVersion: {API_VERSION}` and `kind: App`")));
        return None;
    }
    let path = Path::ROOT.key("kind");
    let Some(kind) = root.get("kind") else {
        let at = root.entries().first().map_or(start, |entry| entry.key_span);
        faults.push(
            Fault::new("MissingField", at, &path, "the document has no `kind`")
                .hint("add `kind: App` or `kind: Target`"),
        );
        return None;
    };
    match kind.text() {
        Some("App") => Some(Kind::App),
        Some("Target") => Some(Kind::Target),
        other => {
            let named = other.map_or_else(|| "this".to_string(), quoted);
            let hint = match other.and_then(|word| nearest(word, ["App", "Target"])) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "there are `App` and `Target`".to_string(),
            };
            faults.push(
                Fault::new(
                    "UnknownKind",
                    kind.span,
                    &path,
                    format!("{named} is not a kind of manifest"),
                )
                .hint(hint),
            );
            None
        }
    }
}

/// Faults that the app has on one of its targets alone, each at a line of that target's override.
fn override_faults(root: &Node) -> Vec<Fault> {
    let overrides = root
        .get("spec")
        .and_then(|spec| spec.get("overrides"))
        .map(Node::entries)
        .unwrap_or_default();
    overrides
        .iter()
        .flat_map(|entry| faults_of_override(root, entry))
        .collect()
}

fn faults_of_override(root: &Node, entry: &Entry) -> Vec<Fault> {
    let merged = merged_tree(root, &entry.key);
    let mut faults = Vec::new();
    walk(&merged, Shape::app(), &Path::ROOT, &mut faults);
    check_app(&merged, &mut faults);
    let target = &entry.key;
    for fault in &mut faults {
        if entry.value.span.contains(fault.span) {
            continue;
        }
        // The line itself is good without the override: what made it bad stands there.
        let line = fault.span.start.line;
        fault.span = entry.key_span;
        fault.part = None;
        fault.message = format!("with the override for `{target}`, {}", fault.message);
        fault
            .because
            .get_or_insert_with(|| format!("line {line} no longer fits"));
    }
    faults
}

/// The App's tree with the overrides for `target` merged into its spec, and without any overrides.
fn merged_tree(root: &Node, target: &str) -> Node {
    let shape = Shape::app().field("spec").expect("an App has a spec");
    let mut root = root.clone();
    let Data::Map(entries) = &mut root.data else {
        return root;
    };
    let Some(spec) = entries.iter_mut().find(|entry| entry.key == "spec") else {
        return root;
    };
    let over = spec
        .value
        .get("overrides")
        .and_then(|overrides| overrides.get(target))
        .cloned();
    if let Data::Map(fields) = &mut spec.value.data {
        fields.retain(|entry| entry.key != "overrides");
    }
    if let Some(over) = over {
        let span = spec.value.span;
        spec.value = merge(&spec.value, &over, shape);
        spec.value.span = span;
    }
    root
}

/// The tree as its type. A tree without faults has one; that it has not is a bug of ours, and is said to be one.
fn typed<T: serde::de::DeserializeOwned>(root: &Node) -> Result<T, Box<Fault>> {
    serde_json::from_value(root.to_json()).map_err(|error| {
        let start = Span {
            start: root.span.start,
            end: root.span.start,
        };
        let fault = Fault::new(
            "Internal",
            start,
            &Path::ROOT,
            "the document passed every check and cannot be read all the same",
        );
        Box::new(
            fault
                .because(error.to_string())
                .hint("this is a fault of Portolan: please report it with this document"),
        )
    })
}

/// A fault with its line.
pub fn diagnostic(fault: Fault, source: &Source) -> Diagnostic {
    let pointer = Some(fault.pointer).filter(|pointer| !pointer.is_empty());
    let mut location = source.locate(fault.span, pointer);
    if let Some(part) = fault.part {
        narrow(&mut location, &part);
    }
    let mut diagnostic = Diagnostic::error(fault.code, fault.message).at(location);
    diagnostic.because = fault.because.into_iter().collect();
    diagnostic.hint = fault.hint;
    diagnostic
}

/// Points at `part`, if the line has it after the place.
fn narrow(location: &mut Location, part: &str) {
    let before = location.column as usize - 1;
    let rest: String = location.snippet.chars().skip(before).collect();
    if let Some(at) = rest.find(part) {
        location.column += rest[..at].chars().count() as u32;
        location.end_column = location.column + part.chars().count() as u32;
    }
}

/// A file without any document, or with empty ones alone.
pub fn empty_file() -> Fault {
    let start = Position { line: 1, column: 1 };
    Fault::new(
        "EmptyFile",
        Span { start, end: start },
        &Path::ROOT,
        "the file has no manifest in it",
    )
    .hint("`portolan init` writes one to begin with")
}

/// The words for a fault of the text itself.
pub fn yaml_fault(fault: YamlFault, source: &Source) -> Fault {
    let new = |code, message: String| Fault::new(code, fault.span, &Path::ROOT, message);
    match fault.kind {
        YamlFaultKind::Syntax(info) => syntax_fault(fault.span, &info, source),
        YamlFaultKind::DuplicateKey { key, first } => {
            new("DuplicateKey", format!("{} stands here twice", quoted(&key)))
                .because(format!("it stands on line {} already", first.line))
                .hint("keep one of them")
        }
        YamlFaultKind::KeyIsNoScalar => new("UnsupportedYaml", "a key must be a single word".to_string()),
        YamlFaultKind::Tag(tag) => new(
            "UnsupportedYaml",
            format!("the tag {} has no meaning in a manifest", quoted(&tag)),
        )
        .hint("remove it; quote a value to make it a text"),
        YamlFaultKind::MergeOfNoMap => new("UnsupportedYaml", "`<<` takes a map, or a list of maps".to_string()),
        YamlFaultKind::TooDeep(most) => new(
            "TooDeep",
            format!("the document is nested more than {most} levels deep"),
        ),
        YamlFaultKind::TooManyValues(most) => new(
            "TooManyValues",
            format!("the document has more than {} values", thousands(most)),
        ),
        YamlFaultKind::AliasesTooLarge(most) => new(
            "AliasBomb",
            format!(
                "the aliases of this document stand for more than {} values",
                thousands(most)
            ),
        )
        .hint("write out what is needed"),
        YamlFaultKind::AliasOfNothing => {
            new("YamlSyntax", "this alias stands for nothing".to_string()).because("its anchor has not ended before it")
        }
        YamlFaultKind::TooManyDocuments(most) => new(
            "TooManyDocuments",
            format!("the file has more than {} documents", thousands(most)),
        ),
    }
}

/// A tab at the beginning of the line, or of one beside it, is what most such faults come from.
fn syntax_fault(span: Span, info: &str, source: &Source) -> Fault {
    let lines = [span.start.line, span.start.line.saturating_sub(1), span.start.line + 1];
    let tab = lines
        .into_iter()
        .find_map(|line| Some((line, leading_tab(source.line(line))?)));
    if let Some((line, column)) = tab {
        let start = Position { line, column };
        let end = Position {
            line,
            column: column + 1,
        };
        return Fault::new(
            "TabIndentation",
            Span { start, end },
            &Path::ROOT,
            "a tab indents this line",
        )
        .because("YAML is indented with spaces alone")
        .hint("replace the tab with spaces");
    }
    let fault = Fault::new("YamlSyntax", span, &Path::ROOT, "this is not YAML").because(info.to_string());
    match SYNTAX_HINTS.iter().find(|(part, _)| info.contains(part)) {
        Some((_, hint)) => fault.hint(*hint),
        None => fault,
    }
}

/// What most likely went wrong, by what the parser says.
const SYNTAX_HINTS: &[(&str, &str)] = &[
    (
        "mapping values are not allowed",
        "indent this line as the one it belongs to, and quote a text that has `: ` in it",
    ),
    ("expected ':'", "a key ends with `:` and a space"),
    ("did not find expected key", "indent this line as the ones beside it"),
    (
        "did not find expected '-'",
        "begin the item with `- `, or indent it as what it belongs to",
    ),
    ("unclosed", "close the quote or bracket"),
    ("unexpected end of", "close the quote or bracket"),
    ("unknown anchor", "define it before with `&NAME`, or quote the `*`"),
    ("invalid indentation", "indent this line as the ones beside it"),
];

fn leading_tab(line: &str) -> Option<u32> {
    let indent = line.chars().take_while(|c| *c == ' ' || *c == '\t');
    indent
        .enumerate()
        .find(|(_, c)| *c == '\t')
        .map(|(index, _)| index as u32 + 1)
}

fn thousands(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}
