//! What a build is made from, as one digest: the Dockerfile, and all that its steps copy from the context. It is known without
//! building anything, and says nothing of the images that the build stands on.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::cache::Key;
use super::context::{Context, Found, FoundKind};
use super::error::{BuildError, StepError};
use super::layers::{blocking, hash_file};
use super::plan::{self, Plan};
use super::workspace::Stop;
use super::{BuildRequest, StopWhenDropped};
use crate::dockerfile::{self, Instruction, Source, Step};

/// The digest of the source of `request`, without the file `without`, which may lie in it. `cache` is the cache of builds, for
/// the hashes of files that have not changed since; nothing is written to it.
pub async fn source_digest(request: &BuildRequest, cache: &Path, without: &Path) -> Result<String, BuildError> {
    let stop = Stop::default();
    let _stopped_when_dropped = StopWhenDropped(stop.clone());
    let (request, cache, without) = (request.clone(), cache.to_owned(), full(without));
    blocking(move || digest(&request, &cache, &without, &stop)).await?
}

fn digest(request: &BuildRequest, cache: &Path, without: &Path, stop: &Stop) -> Result<String, BuildError> {
    let bytes = plan::read(&request.dockerfile)?;
    let file = dockerfile::parse(&request.dockerfile, &bytes)?;
    let plan = Plan::new(file, &String::from_utf8_lossy(&bytes), request)?;
    let context = Context::open(&request.context, &request.dockerfile, &hash_file(cache, request))?;
    let reading = Reading {
        without: without.strip_prefix(full(&request.context)).ok().map(PathBuf::from),
        context: &context,
        stop,
    };
    let mut key = Key::new("source").with(&bytes);
    for step in copies(&plan) {
        key = reading
            .add_step(key, step, plan.file.escape)
            .map_err(|source| BuildError::Step {
                dockerfile: request.dockerfile.clone(),
                at: step.at,
                instruction: step.source.clone(),
                source: Box::new(source),
            })?;
    }
    Ok(key.hex())
}

/// Links are followed as far as there is anything.
fn full(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok();
    let named = folder.zip(path.file_name()).map(|(folder, name)| folder.join(name));
    path.canonicalize().ok().or(named).unwrap_or_else(|| path.to_owned())
}

/// The steps that copy from the context, of all stages that are needed.
fn copies(plan: &Plan) -> impl Iterator<Item = &Step> {
    let steps = plan.needed.iter().flat_map(|stage| &plan.file.stages[*stage].steps);
    steps.filter(|step| matches!(&step.instruction, Instruction::Copy(copy) if copy.from.is_none()))
}

struct Reading<'a> {
    context: &'a Context,
    /// Relative to the context.
    without: Option<PathBuf>,
    stop: &'a Stop,
}

impl Reading<'_> {
    fn add_step(&self, mut key: Key, step: &Step, escape: char) -> Result<Key, StepError> {
        let Instruction::Copy(copy) = &step.instruction else {
            return Ok(key);
        };
        for source in &copy.sources {
            // What stands in the Dockerfile is digested with it.
            let Source::Path(text) = source else { continue };
            let named = text.expand(escape, &|_| None).unwrap_or_default();
            // What a variable stands for is known once the images below are: it may name anything.
            let pattern = if text.is_variable() { "" } else { &named };
            key = self.add_source(key, pattern)?;
        }
        Ok(key)
    }

    fn add_source(&self, mut key: Key, pattern: &str) -> Result<Key, StepError> {
        for (name, top) in self.context.find(pattern)? {
            key = self.add(key.with(name.as_os_str().as_bytes()), &top)?;
            if top.kind == FoundKind::Directory {
                for found in self.context.walk(&top.path, self.stop)? {
                    key = self.add(key, &found)?;
                }
            }
        }
        Ok(key)
    }

    fn add(&self, key: Key, found: &Found) -> Result<Key, StepError> {
        if self.without.as_ref() == Some(&found.path) {
            return Ok(key);
        }
        let key = key.with(found.path.as_os_str().as_bytes()).with(found.mode.to_string());
        Ok(match &found.kind {
            FoundKind::File => key.with("file").with(self.context.sha256(found)?),
            FoundKind::Directory => key.with("directory"),
            FoundKind::Symlink(target) => key.with("link").with(target),
            FoundKind::Special(kind) => key.with("special").with(kind),
        })
    }
}
