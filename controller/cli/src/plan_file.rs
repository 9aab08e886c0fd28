//! The file of `plan --out`: plans over several apps and targets, with the manifests that they were made from, so that
//! `apply --plan` carries out what was looked at and nothing else.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portolan_core::diagnostic::Diagnostic;
use portolan_core::parse::SourceFile;
use portolan_core::plan::{PlanOptions, SavedPlan};
use portolan_engine::Preview;
use serde::{Deserialize, Serialize};

use crate::args::{ManifestArgs, SelectArgs};
use crate::failure::Failure;
use crate::manifests::{self, Deployment};
use crate::output::Output;
use crate::sources::Sources;

/// Of the file's form. A file of another version is refused.
const VERSION: u32 = 2;

/// More than any plan takes.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PlanFile {
    plan_file: u32,
    options: PlanOptions,
    plans: Vec<Planned>,
    manifests: Vec<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Planned {
    plan: SavedPlan,
    sources: Sources,
}

/// A manifest's file as it was read. Builds are relative to its folder, and a relative path to where the command is
/// given.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Text {
    path: PathBuf,
    text: String,
}

/// A plan that alone may be carried out, and what its maker allowed.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The file.
    pub path: PathBuf,
    pub plan: Arc<SavedPlan>,
    pub options: PlanOptions,
    pub sources: Sources,
}

/// What is written into the file.
pub struct Contents {
    pub manifests: Vec<SourceFile>,
    pub previews: Vec<Preview>,
    /// Of each preview.
    pub sources: Vec<Sources>,
    pub options: PlanOptions,
}

/// Writes the file as a whole, or not at all. Manifests may hold what not everybody shall read.
pub fn write(path: &Path, contents: Contents, output: Output) -> Result<(), Failure> {
    let Contents {
        manifests,
        previews,
        sources,
        options,
    } = contents;
    let planned = |(preview, sources): (Preview, Sources)| Planned {
        plan: preview.saved(),
        sources,
    };
    let text = |file: SourceFile| Text {
        path: file.path,
        text: String::from_utf8_lossy(&file.bytes).into_owned(),
    };
    let file = PlanFile {
        plan_file: VERSION,
        options,
        plans: previews.into_iter().zip(sources).map(planned).collect(),
        manifests: manifests.into_iter().map(text).collect(),
    };
    let json = serde_json::to_vec_pretty(&file).expect("plans hold only string keys");
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let written = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).and_then(|mut file| {
        file.write_all(&json)?;
        file.as_file().sync_all()?;
        Ok(file.persist(path)?)
    });
    written.map_err(|error| {
        Failure::new("PlanNotSaved", format!("cannot write {}", path.display())).because(error.to_string())
    })?;
    output.say(&format!(
        "kept in {}: `portolan apply --plan {}` carries it out",
        path.display(),
        path.display()
    ));
    Ok(())
}

/// What the file is about, each deployment with the plan that alone may be carried out.
pub fn read(path: &Path) -> Result<Vec<Deployment>, Failure> {
    let file = parse(path)?;
    let source = |text: Text| SourceFile {
        path: text.path,
        bytes: text.text.into_bytes(),
    };
    let documents = manifests::parse(file.manifests.into_iter().map(source).collect())?;
    file.plans
        .into_iter()
        .map(|planned| {
            let scope = &planned.plan.plan.scope;
            let select = SelectArgs {
                manifests: ManifestArgs::default(),
                apps: vec![format!("{}/{}", scope.namespace, scope.app)],
                target: Some(scope.target.clone()),
            };
            let mut found = manifests::select_of(&documents, &select)?;
            let mut deployment = found.pop().ok_or_else(|| unreadable(path, "it holds no app"))?;
            deployment.kept = Some(Kept {
                path: path.to_owned(),
                plan: Arc::new(planned.plan),
                options: file.options,
                sources: planned.sources,
            });
            Ok(deployment)
        })
        .collect()
}

fn parse(path: &Path) -> Result<PlanFile, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, &error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(unreadable(path, &format!("it is larger than {} MiB", MAX_BYTES >> 20)));
    }
    let version = serde_json::from_slice::<Version>(&bytes).map_err(|error| unreadable(path, &error.to_string()))?;
    if version.plan_file != VERSION {
        let cause = format!(
            "it is of version {}, and this portolan reads {VERSION}",
            version.plan_file
        );
        return Err(unreadable(path, &cause));
    }
    serde_json::from_slice(&bytes).map_err(|error| unreadable(path, &error.to_string()))
}

/// What every version begins with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    plan_file: u32,
}

fn unreadable(path: &Path, cause: &str) -> Failure {
    Diagnostic::error("PlanUnreadable", format!("cannot use {} as a plan", path.display()))
        .because_of(&std::io::Error::other(cause.to_string()))
        .hint("`portolan plan --out FILE` writes one")
        .into()
}
