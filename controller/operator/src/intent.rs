//! From an object to what it means: read by the same parser as a file, so that its faults have the same words.
//!
//! A Kubernetes object has no folder, so what a file may name beside itself (a build's context, env files, a kubeconfig) is
//! refused here. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use portolan_core::diagnostic::{Diagnostic, Style};
use portolan_core::manifest::{
    API_VERSION, ApiVersion, App, AppKind, AppMetadata, AppSpec, Container, LOCAL_PROVIDER, Target,
};
use portolan_core::parse::{Document, SourceFile, parse_files};
use portolan_core::resolve::containers;
use serde_json::{Value, json};

use crate::object::AppName;

/// What an App wants, by Target, with that one's overrides merged in.
pub type Intent = BTreeMap<String, Arc<App>>;

/// A fault of a manifest, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub message: String,
}

impl Refusal {
    /// Of a manifest that is good but for what this target's overrides say.
    fn by_override(self, target: &str) -> Self {
        Self {
            message: format!("with the override for `{target}`, {}", self.message),
            ..self
        }
    }
}

/// A fault, before it is put into words.
enum Fault {
    Read(Box<Diagnostic>),
    Unfit(Refusal),
}

/// Of an App's object, by its `spec`.
pub fn app(name: &AppName, spec: &Value) -> Result<Intent, Vec<Refusal>> {
    read_app(name, spec).map_err(refusals)
}

/// What is wrong with an App's object, each as the command line would say it; nothing of a good one.
pub fn words_of_app(name: &AppName, spec: &Value) -> Vec<String> {
    read_app(name, spec).err().iter().flatten().map(Fault::words).collect()
}

/// The same of a Target's.
pub fn words_of_target(name: &str, spec: &Value) -> Vec<String> {
    read_target(name, spec)
        .err()
        .iter()
        .flatten()
        .map(Fault::words)
        .collect()
}

fn read_app(name: &AppName, spec: &Value) -> Result<Intent, Vec<Fault>> {
    let manifest = json!({
        "apiVersion": API_VERSION,
        "kind": "App",
        "metadata": { "name": name.name, "namespace": name.namespace },
        "spec": spec,
    });
    let document = document(&name.source(), &manifest)?;
    let Some(app) = document.manifest.as_app() else {
        return Ok(Intent::new());
    };
    let everywhere = without_source(app);
    let (mut intent, mut refused) = (Intent::new(), Vec::new());
    for target in &app.spec.targets {
        let merged = document.merged(target).map_err(read)?;
        let merged = merged.manifest.as_app().cloned();
        let merged = merged.unwrap_or_else(|| nothing_of(name, target));
        for refusal in without_source(&merged) {
            let refusal = match everywhere.contains(&refusal) {
                true => refusal,
                false => refusal.by_override(target),
            };
            if !refused.contains(&refusal) {
                refused.push(refusal);
            }
        }
        intent.insert(target.clone(), Arc::new(merged));
    }
    match refused.is_empty() {
        true => Ok(intent),
        false => Err(refused.into_iter().map(Fault::Unfit).collect()),
    }
}

/// Of a Target's object.
pub fn target(name: &str, spec: &Value) -> Result<Target, Vec<Refusal>> {
    read_target(name, spec).map_err(refusals)
}

fn read_target(name: &str, spec: &Value) -> Result<Target, Vec<Fault>> {
    let manifest = json!({ "apiVersion": API_VERSION, "kind": "Target", "metadata": { "name": name }, "spec": spec });
    let document = document(&format!("kubernetes/{name}"), &manifest)?;
    let Some(target) = document.manifest.as_target().cloned() else {
        return Err(Vec::new());
    };
    match of_this_machine(&target) {
        Some(refusal) => Err(vec![Fault::Unfit(refusal)]),
        None => Ok(target),
    }
}

/// An App of which nothing is known but its name: enough to delete it.
pub fn nothing_of(name: &AppName, target: &str) -> App {
    App {
        api_version: ApiVersion::V1Alpha1,
        kind: AppKind::App,
        metadata: AppMetadata {
            name: name.name.clone(),
            namespace: name.namespace.clone(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        },
        spec: AppSpec {
            targets: vec![target.to_string()],
            replicas: None,
            services: BTreeMap::new(),
            jobs: BTreeMap::new(),
            bindings: BTreeMap::new(),
            uses: BTreeMap::new(),
            overrides: BTreeMap::new(),
        },
    }
}

/// `spec.services.web.image: it is no image reference: ...; hint: ...`: a place without lines, and the words of the command
/// line.
pub fn refusal(diagnostic: &Diagnostic) -> Refusal {
    let place = diagnostic
        .location
        .as_ref()
        .and_then(|location| location.pointer.as_deref());
    let mut message = place.map_or(String::new(), |pointer| format!("{}: ", path_of(pointer)));
    message.push_str(&diagnostic.message);
    for cause in &diagnostic.because {
        message.push_str(&format!(": {cause}"));
    }
    if let Some(hint) = &diagnostic.hint {
        message.push_str(&format!("; hint: {hint}"));
    }
    Refusal {
        code: diagnostic.code.to_string(),
        message,
    }
}

/// `/spec/services/web` as `kubectl` writes it.
pub fn path_of(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn document(source: &str, manifest: &Value) -> Result<Document, Vec<Fault>> {
    let file = SourceFile {
        path: PathBuf::from(source),
        // JSON is YAML.
        bytes: manifest.to_string().into_bytes(),
    };
    let (mut documents, diagnostics) = parse_files(vec![file]);
    let faults: Vec<Diagnostic> = diagnostics.into_iter().filter(Diagnostic::is_error).collect();
    match documents.pop() {
        Some(document) if faults.is_empty() => Ok(document),
        _ => Err(read(faults)),
    }
}

fn read(faults: Vec<Diagnostic>) -> Vec<Fault> {
    faults.into_iter().map(|fault| Fault::Read(Box::new(fault))).collect()
}

fn refusals(faults: Vec<Fault>) -> Vec<Refusal> {
    let refusal = |fault| match fault {
        Fault::Read(diagnostic) => refusal(&diagnostic),
        Fault::Unfit(refusal) => refusal,
    };
    faults.into_iter().map(refusal).collect()
}

impl Fault {
    /// As the command line says it, with the field where that has the line of a file.
    fn words(&self) -> String {
        let diagnostic = match self {
            Self::Read(diagnostic) => diagnostic,
            Self::Unfit(refusal) => return format!("error[{}]: {}\n", refusal.code, refusal.message),
        };
        let mut bare = Diagnostic::clone(diagnostic);
        let place = bare.location.take().and_then(|location| location.pointer);
        let text = bare.render(Style::Plain);
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let place = place.map_or(String::new(), |pointer| format!("  at {}\n", path_of(&pointer)));
        format!("{first}\n{place}{rest}")
    }
}

/// What containers may say in a file and not in an object. Only with a target's overrides merged in can it be told of an App.
fn without_source(app: &App) -> Vec<Refusal> {
    let containers = containers(app).into_iter();
    containers
        .filter_map(|(_, pointer, container)| unfit(&path_of(&pointer), container))
        .collect()
}

fn unfit(path: &str, container: &Container) -> Option<Refusal> {
    let (code, message) = match container {
        _ if container.build.is_some() => (
            "BuildHasNoSource",
            format!(
                "{path}.build: a Kubernetes object has no folder to build from; hint: build and push the image, and name it: `image: NAME@DIGEST`"
            ),
        ),
        // Images are pinned without being pulled, so their words are not known.
        _ if container.args.is_some() && container.command.is_none() => (
            "ArgsWithoutCommand",
            format!(
                "{path}.args: they stand behind the image's entrypoint, which is not read here; hint: say `command` too"
            ),
        ),
        _ => return None,
    };
    Some(Refusal {
        code: code.into(),
        message,
    })
}

/// What a Target may say in a file and not in an object: it would be about the machine of whoever reads it.
fn of_this_machine(target: &Target) -> Option<Refusal> {
    let spec = &target.spec;
    let (code, place) = match spec {
        _ if spec.provider == LOCAL_PROVIDER => ("ProviderUnsupported", "spec.provider: a Kubernetes object cannot mean this machine".to_string()),
        _ if !spec.secrets.files.is_empty() => ("FileHasNoSource", "spec.secrets.files: a Kubernetes object has no folder to find files in".to_string()),
        _ if spec.kubernetes.as_ref().is_some_and(|told| told.kubeconfig.is_some()) => (
            "FileHasNoSource",
            "spec.kubernetes.kubeconfig: a Kubernetes object has no folder to find files in; hint: name a context of the controller's own kubeconfig".to_string(),
        ),
        _ => return None,
    };
    Some(Refusal {
        code: code.into(),
        message: place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> AppName {
        AppName {
            namespace: "team".into(),
            name: "shop".into(),
        }
    }

    fn codes(spec: Value) -> Vec<String> {
        let faults = app(&name(), &spec).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn an_object_is_read_as_a_file_would_be() {
        let spec = json!({
            "targets": ["one", "two"],
            "services": { "web": { "image": "registry.example/web:1" } },
            "overrides": { "two": { "services": { "web": { "scale": { "min": 3 } } } } },
        });
        let intent = app(&name(), &spec).unwrap();
        let replicas = |target: &str| {
            serde_json::to_value(&*intent[target]).unwrap()["spec"]["services"]["web"]["scale"]["min"].clone()
        };
        assert_eq!(intent.keys().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(intent["two"].metadata.namespace, "team");
        assert_eq!(replicas("two"), 3);
        assert_ne!(replicas("one"), 3);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        let service = |service: Value| json!({ "targets": ["one"], "services": { "web": service } });
        let build = json!({ "context": "." });
        let image = "registry.example/web:1";
        for (reason, spec, expected) in [
            (
                "nothing to build from",
                service(json!({ "build": build })),
                "BuildHasNoSource",
            ),
            (
                "nor beside it",
                service(json!({ "image": image, "sidecars": { "proxy": { "build": build } } })),
                "BuildHasNoSource",
            ),
            (
                "whose entrypoint",
                service(json!({ "image": image, "args": ["-v"] })),
                "ArgsWithoutCommand",
            ),
            (
                "a key that is none",
                service(json!({ "image": image, "prots": [] })),
                "UnknownKey",
            ),
        ] {
            assert_eq!(codes(spec), [expected], "{reason}");
        }
        let refused = app(&name(), &service(json!({ "build": build }))).unwrap_err();
        assert!(
            refused[0].message.starts_with("spec.services.web.build: "),
            "{refused:?}"
        );
        let called_so = json!({ "targets": ["one"], "services": { "build": { "image": image } } });
        assert!(app(&name(), &called_so).is_ok(), "a service may be called so");
    }

    #[test]
    fn what_is_refused_is_what_each_target_gets_with_its_overrides() {
        let image = "registry.example/web:1";
        let with = |web: Value, over: Value| {
            json!({
                "targets": ["one", "two"],
                "services": { "web": web },
                "overrides": { "two": { "services": { "web": over } } },
            })
        };
        let both = json!({ "image": image, "command": ["/web"], "args": ["-v"] });
        let args = json!({ "image": image, "args": ["-v"] });
        for (reason, spec, expected) in [
            (
                "args over a command that stands before them",
                with(both.clone(), json!({ "args": ["-q"] })),
                vec![],
            ),
            (
                "a command that is taken away",
                with(both, json!({ "command": null })),
                vec!["with the override for `two`, spec.services.web.args: "],
            ),
            (
                "one target has the command, the other has not",
                with(args.clone(), json!({ "command": ["/web"] })),
                vec!["spec.services.web.args: "],
            ),
            (
                "the same on both is told once",
                with(args, json!({ "scale": { "min": 2 } })),
                vec!["spec.services.web.args: "],
            ),
        ] {
            let refused = app(&name(), &spec).err().unwrap_or_default();
            assert_eq!(refused.len(), expected.len(), "{reason}: {refused:?}");
            for (refusal, begin) in refused.iter().zip(expected) {
                assert!(refusal.message.starts_with(begin), "{reason}: {refusal:?}");
            }
        }
    }

    #[test]
    fn a_target_says_nothing_of_this_machine() {
        for (reason, spec, good) in [
            ("a cluster", json!({ "provider": "kubernetes" }), true),
            ("this machine", json!({ "provider": "local" }), false),
            (
                "its files",
                json!({ "provider": "kubernetes", "kubernetes": { "kubeconfig": "a" } }),
                false,
            ),
        ] {
            assert_eq!(target("one", &spec).is_ok(), good, "{reason}");
        }
    }
}
