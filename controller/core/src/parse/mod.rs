//! Files -> documents: the first step of every command.
//!
//! Text becomes a tree that knows its lines (`yaml`, `node`); the tree is walked along the schema (`shape`, `walk`) and
//! checked for meaning (`check`); overrides are merged for each target and checked again (`merge`); and what has no
//! fault becomes typed. Every fault of a file is reported at once, in the order of its lines. Nothing here does I/O.
//!
//! The text may come from anyone: sizes, nesting and aliases have limits, and no input may panic.

mod check;
mod document;
mod fault;
mod merge;
pub(crate) mod node;
mod path;
mod shape;
mod source;
mod walk;
mod yaml;

use std::collections::HashMap;
use std::sync::Arc;

pub use document::{Document, SpanMap};
pub use fault::nearest;
pub use node::{Position, Span};
pub use shape::{Shape, ShapeKind, Unique};
pub use source::{MAX_FILE_BYTES, SourceFile};

use crate::diagnostic::Diagnostic;
use crate::manifest::{LOCAL_PROVIDER, Manifest};
use fault::Fault;
use source::Source;

/// Most faults of one file that are reported one by one.
const MAX_FAULTS: usize = 100;

/// Every document of every file that has no fault, and every fault. With an error among the faults, the documents are
/// good for looking at (an editor, `explain`), not for acting on.
pub fn parse_files(files: Vec<SourceFile>) -> (Vec<Document>, Vec<Diagnostic>) {
    let (mut documents, mut diagnostics) = (Vec::new(), Vec::new());
    for file in files {
        match Source::of(file) {
            Ok(source) => parse_source(&Arc::new(source), &mut documents, &mut diagnostics),
            Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    diagnostics.extend(duplicates(&documents));
    (documents, diagnostics)
}

/// Faults between documents that are good each by itself: an App that names a Target which no document describes
/// (`local` needs none).
pub fn check_links(documents: &[Document]) -> Vec<Diagnostic> {
    let targets: HashMap<&str, &Document> = documents
        .iter()
        .filter(|document| document.manifest.as_target().is_some())
        .map(|document| (document.manifest.name(), document))
        .collect();
    documents
        .iter()
        .flat_map(|document| unknown_targets(document, &targets))
        .collect()
}

fn unknown_targets(document: &Document, targets: &HashMap<&str, &Document>) -> Vec<Diagnostic> {
    let Some(app) = document.manifest.as_app() else {
        return Vec::new();
    };
    let unknown = app
        .spec
        .targets
        .iter()
        .enumerate()
        .filter(|(_, name)| name.as_str() != LOCAL_PROVIDER && !targets.contains_key(name.as_str()));
    unknown
        .map(|(index, name)| {
            let mut known: Vec<&str> = targets.keys().copied().chain([LOCAL_PROVIDER]).collect();
            known.sort_unstable();
            known.dedup();
            Diagnostic::error("UnknownTarget", format!("no Target is called `{name}`"))
                .at(document.spans.locate(&format!("/spec/targets/{index}")))
                .hint(fault::nearest_or_all(name, known, "there are"))
        })
        .collect()
}

fn parse_source(source: &Arc<Source>, documents: &mut Vec<Document>, diagnostics: &mut Vec<Diagnostic>) {
    let (roots, yaml_faults) = yaml::read(source.text());
    let mut faults: Vec<Fault> = yaml_faults
        .into_iter()
        .map(|fault| document::yaml_fault(fault, source))
        .collect();
    let broken = !faults.is_empty();
    let mut empty = true;
    for root in roots.into_iter().filter(|root| root.data != node::Data::Null) {
        empty = false;
        match document::of_tree(root, source) {
            Ok(document) => documents.push(document),
            Err(found) => faults.extend(found),
        }
    }
    if empty && !broken {
        faults.push(document::empty_file());
    }
    diagnostics.extend(report(faults, source));
}

/// In the order of lines; one of several that say the same of one place, as an alias makes them.
fn report(mut faults: Vec<Fault>, source: &Source) -> Vec<Diagnostic> {
    faults.sort_by_key(|fault| fault.span.start);
    faults.dedup_by(|one, other| one.span == other.span && one.code == other.code && one.message == other.message);
    let more = faults.len().saturating_sub(MAX_FAULTS);
    let mut diagnostics: Vec<Diagnostic> = faults
        .into_iter()
        .take(MAX_FAULTS)
        .map(|fault| document::diagnostic(fault, source))
        .collect();
    if more > 0 {
        let message = format!("{} has {more} more faults", source.path.display());
        diagnostics.push(Diagnostic::error("TooManyFaults", message));
    }
    diagnostics
}

/// Two documents of one kind and name, wherever they stand.
fn duplicates(documents: &[Document]) -> Vec<Diagnostic> {
    let mut first: HashMap<(&str, &str, &str), &Document> = HashMap::new();
    let mut diagnostics = Vec::new();
    for document in documents {
        let (kind, name) = (document.manifest.kind(), document.manifest.name());
        let namespace = match &document.manifest {
            Manifest::App(app) => app.metadata.namespace.as_str(),
            Manifest::Target(_) => "",
        };
        let Some(other) = first.get(&(kind, namespace, name)) else {
            first.insert((kind, namespace, name), document);
            continue;
        };
        let place = other.spans.locate("/metadata/name");
        let whose = if kind == "App" {
            format!(" in namespace `{namespace}`")
        } else {
            String::new()
        };
        diagnostics.push(
            Diagnostic::error("DuplicateManifest", format!("two {kind}s are called `{name}`{whose}"))
                .at(document.spans.locate("/metadata/name"))
                .because(format!("the other one stands at {}:{}", place.file, place.line))
                .hint("rename one, or remove one"),
        );
    }
    diagnostics
}
