//! From arguments to parsed manifests, and from those to (app, target) pairs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portolan_core::diagnostic::Diagnostic;
use portolan_core::manifest::{App, DEFAULT_NAMESPACE, LOCAL_PROVIDER, Target};
use portolan_core::parse::{self, Document, SourceFile, nearest};

use crate::args::{ManifestArgs, OneAppArgs, SelectArgs};
use crate::failure::Failure;
use crate::plan_file::Kept;

/// What a folder is expected to hold.
const DEFAULT_FILE: &str = "portolan.yaml";

/// One app on one target: the App's document with that target's overrides merged in, and the Target.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub document: Document,
    pub target: Target,
    /// The folder of the Target's file: its env files are relative to it.
    pub target_folder: PathBuf,
    /// The plan that alone may be carried out, of `apply --plan`.
    pub kept: Option<Kept>,
}

impl Deployment {
    pub fn app(&self) -> &App {
        self.document
            .manifest
            .as_app()
            .expect("a deployment is made from an App's document")
    }

    /// `shop on local`: how messages name it.
    pub fn title(&self) -> String {
        format!("{} on {}", self.app().metadata.name, self.target.metadata.name)
    }
}

/// Every fault of every file is one failure.
pub fn parse(files: Vec<SourceFile>) -> Result<Vec<Document>, Failure> {
    let (documents, diagnostics) = parse::parse_files(files);
    if diagnostics.iter().any(Diagnostic::is_error) {
        Err(diagnostics.into())
    } else {
        Ok(documents)
    }
}

/// The files that the arguments name, read.
pub fn read_files(arguments: &ManifestArgs) -> Result<Vec<SourceFile>, Failure> {
    let paths = match arguments.files.as_slice() {
        [] => vec![default_file()?],
        named => named
            .iter()
            .map(|path| files_of(path))
            .collect::<Result<Vec<_>, _>>()?
            .concat(),
    };
    paths.into_iter().map(|path| read(&path)).collect()
}

/// The (app, target) pairs that the arguments select.
pub fn select(arguments: &SelectArgs) -> Result<Vec<Deployment>, Failure> {
    select_from(read_files(&arguments.manifests)?, arguments)
}

/// As [`select`], from files that are read.
pub fn select_from(files: Vec<SourceFile>, arguments: &SelectArgs) -> Result<Vec<Deployment>, Failure> {
    select_of(&parse(files)?, arguments)
}

/// As [`select`], from documents that are parsed.
pub fn select_of(documents: &[Document], arguments: &SelectArgs) -> Result<Vec<Deployment>, Failure> {
    let links = parse::check_links(documents);
    if !links.is_empty() {
        return Err(links.into());
    }
    let apps = apps_of(documents, &arguments.apps)?;
    let mut deployments = Vec::new();
    for document in apps {
        for target in targets_of(document, arguments.target.as_deref())? {
            deployments.push(deployment(document, documents, &target)?);
        }
    }
    match deployments.is_empty() {
        true => Err(nothing_selected(documents, arguments)),
        false => Ok(deployments),
    }
}

/// As [`select`] for a command that changes something: apps that go to several targets want one named, or `all`.
pub fn select_for_change(arguments: &SelectArgs) -> Result<Vec<Deployment>, Failure> {
    let deployments = select(arguments)?;
    let targets: BTreeSet<&str> = deployments
        .iter()
        .map(|deployment| deployment.target.metadata.name.as_str())
        .collect();
    if arguments.target.is_none() && targets.len() > 1 {
        let names: Vec<&str> = targets.into_iter().collect();
        return Err(Failure::usage("TargetAmbiguous", "the manifests go to several targets")
            .hint(format!("choose one with --target: {}, or all", names.join(", "))));
    }
    Ok(deployments)
}

/// The one pair that a day-two command speaks of.
pub fn select_one(arguments: &OneAppArgs) -> Result<Deployment, Failure> {
    let mut deployments = select(&SelectArgs {
        manifests: arguments.manifests.clone(),
        apps: arguments.app.iter().cloned().collect(),
        target: arguments.target.clone(),
    })?;
    if deployments.len() == 1 {
        return Ok(deployments.remove(0));
    }
    let titles: Vec<String> = deployments.iter().map(Deployment::title).collect();
    Err(
        Failure::usage("AppAmbiguous", "the manifests hold several apps or targets")
            .hint(format!("choose one with --app and --target: {}", titles.join(", "))),
    )
}

fn default_file() -> Result<PathBuf, Failure> {
    let path = PathBuf::from(DEFAULT_FILE);
    match path.exists() {
        true => Ok(path),
        false => Err(
            Failure::new("ManifestNotFound", format!("there is no {DEFAULT_FILE} in this folder"))
                .hint("write one with `portolan init`, or name files and folders with -f"),
        ),
    }
}

/// A file itself; of a folder its manifests in the order of their names.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_manifest(path))
        .collect();
    files.sort();
    match files.is_empty() {
        true => Err(Failure::new(
            "ManifestNotFound",
            format!("there is no *.yaml in {}", path.display()),
        )),
        false => Ok(files),
    }
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    path.is_file() && matches!(extension, Some("yaml" | "yml"))
}

/// Reads one file, but never more than parse would take.
fn read(path: &Path) -> Result<SourceFile, Failure> {
    use std::io::Read;
    let file = fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut bytes = Vec::new();
    let limit = parse::MAX_FILE_BYTES as u64 + 1;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, &error))?;
    Ok(SourceFile {
        path: path.to_path_buf(),
        bytes,
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let code = if error.kind() == std::io::ErrorKind::NotFound {
        "ManifestNotFound"
    } else {
        "ManifestUnreadable"
    };
    Failure::new(code, format!("cannot read {}", path.display())).because(error.to_string())
}

/// The Apps that are named, or all.
fn apps_of<'a>(documents: &'a [Document], names: &[String]) -> Result<Vec<&'a Document>, Failure> {
    let apps: Vec<&Document> = documents
        .iter()
        .filter(|document| document.manifest.as_app().is_some())
        .collect();
    if names.is_empty() {
        return Ok(apps);
    }
    names.iter().map(|name| find_app(&apps, name)).collect()
}

/// NAME alone is the App of that name, if there is one only, or the one in the default namespace.
fn find_app<'a>(apps: &[&'a Document], name: &str) -> Result<&'a Document, Failure> {
    let full = |document: &Document| {
        let metadata = document.manifest.as_app().map(|app| &app.metadata);
        metadata.map(|metadata| (metadata.namespace.clone(), metadata.name.clone()))
    };
    let wanted = |namespace: &str, app: &str| Some((namespace.to_string(), app.to_string()));
    let (namespace, app) = name.split_once('/').unwrap_or((DEFAULT_NAMESPACE, name));
    if let Some(found) = apps.iter().find(|document| full(document) == wanted(namespace, app)) {
        return Ok(found);
    }
    let mut named = apps.iter().filter(|document| document.manifest.name() == name);
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(app_not_found(apps.iter().filter_map(|document| full(document)), name)),
    }
}

fn app_not_found(known: impl Iterator<Item = (String, String)>, name: &str) -> Failure {
    let known: Vec<String> = known
        .map(|(namespace, app)| match namespace.as_str() {
            DEFAULT_NAMESPACE => app,
            _ => format!("{namespace}/{app}"),
        })
        .collect();
    let failure = Failure::new("AppNotFound", format!("no App is called `{name}`"));
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint(format!("there are {}", known.join(", "))),
    }
}

fn targets_of(document: &Document, wanted: Option<&str>) -> Result<Vec<String>, Failure> {
    let app = document.manifest.as_app().expect("apps_of gives Apps alone");
    match wanted {
        None | Some("all") => Ok(app.spec.targets.clone()),
        Some(name) if app.spec.targets.iter().any(|target| target == name) => Ok(vec![name.to_string()]),
        Some(name) => Err(Failure::new(
            "UnknownTarget",
            format!("`{}` does not go to a target `{name}`", app.metadata.name),
        )
        .hint(format!("it goes to {}", app.spec.targets.join(", ")))),
    }
}

fn deployment(document: &Document, documents: &[Document], target: &str) -> Result<Deployment, Failure> {
    let merged = document.merged(target)?;
    let found = documents.iter().find_map(|document| {
        let found = document
            .manifest
            .as_target()
            .filter(|found| found.metadata.name == target)?;
        Some((found.clone(), document.folder().to_path_buf()))
    });
    let (target, target_folder) = match found {
        Some(found) => found,
        None if target == LOCAL_PROVIDER => (Target::local(), document.folder().to_path_buf()),
        None => return Err(Failure::new("UnknownTarget", format!("no Target is called `{target}`"))),
    };
    Ok(Deployment {
        document: merged,
        target,
        target_folder,
        kept: None,
    })
}

fn nothing_selected(documents: &[Document], arguments: &SelectArgs) -> Failure {
    let failure = Failure::new("AppNotFound", "there is no App in the manifests");
    match (documents.len(), &arguments.target) {
        (0, _) => failure,
        (count, _) => failure.because(format!("they hold {count} documents of other kinds")),
    }
}
