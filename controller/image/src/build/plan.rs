//! Before anything is built: what each stage stands on, which stages the target needs, and what is wrong with either.

use std::collections::BTreeSet;
use std::path::Path;

use portolan_core::reference::ImageReference;

use super::BuildRequest;
use super::error::BuildError;
use super::variables::{Globals, is_predefined};
use crate::dockerfile::{Argument, Collector, Complaint, CopyFrom, Dockerfile, Faults, Instruction, Stage, Text};
use crate::manifest::host_architecture;

/// The part of a Dockerfile that a build needs.
#[derive(Debug)]
pub(super) struct Plan {
    pub file: Dockerfile,
    pub globals: Globals,
    /// For each stage of the file.
    pub bases: Vec<Base>,
    /// The stages to build, in the order of the file; the last one is the target.
    pub needed: Vec<usize>,
    /// Values that were given and that no ARG takes.
    pub unused: Vec<String>,
}

/// What a stage stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Scratch,
    Stage(usize),
    Image(ImageReference),
}

impl Plan {
    /// Plans the build of `request` from its parsed Dockerfile and that file's text.
    pub fn new(file: Dockerfile, source: &str, request: &BuildRequest) -> Result<Self, BuildError> {
        check_platform(request.platform.as_deref())?;
        let target = target_of(&file, request)?;
        let name = file.stages[target].name.clone().unwrap_or_default();
        let mut faults = Collector::new(source);
        let globals = globals(&file, request, &name, &mut faults);
        let bases = bases(&file, &globals, &mut faults);
        let faults = faults.finish();
        if !faults.is_empty() {
            return Err(Faults {
                path: request.dockerfile.clone(),
                faults,
            }
            .into());
        }
        let needed = needed(&file, &bases, target);
        let unused = unused(&file, request);
        Ok(Self {
            file,
            globals,
            bases,
            needed,
            unused,
        })
    }

    /// The stages that `stage` needs before it can begin.
    pub fn dependencies(&self, stage: usize) -> BTreeSet<usize> {
        dependencies(&self.file, &self.bases, stage)
    }
}

/// Images are built for this machine: a RUN could not start what is made for another.
fn check_platform(platform: Option<&str>) -> Result<(), BuildError> {
    match platform {
        Some(platform) if !is_host(platform) => Err(BuildError::Platform {
            platform: platform.to_owned(),
            host: format!("linux/{}", host_architecture()),
        }),
        _ => Ok(()),
    }
}

fn is_host(platform: &str) -> bool {
    let mut parts = platform.split('/');
    let (os, arch, variant) = (parts.next(), parts.next(), parts.next());
    let arch = match arch {
        Some("x86_64" | "x86-64") => Some("amd64"),
        Some("aarch64") => Some("arm64"),
        other => other,
    };
    let customary = match variant {
        None => true,
        Some(variant) => (arch, variant) == (Some("arm64"), "v8") || (arch, variant) == (Some("amd64"), "v1"),
    };
    os == Some("linux") && arch == Some(host_architecture()) && customary && parts.next().is_none()
}

fn target_of(file: &Dockerfile, request: &BuildRequest) -> Result<usize, BuildError> {
    let Some(target) = &request.target else {
        return Ok(file.stages.len() - 1);
    };
    let by_name = file
        .stages
        .iter()
        .position(|stage| stage.name.as_deref() == Some(&target.to_lowercase()));
    let by_number = || target.parse().ok().filter(|index| *index < file.stages.len());
    by_name.or_else(by_number).ok_or_else(|| BuildError::TargetUnknown {
        target: target.clone(),
        dockerfile: request.dockerfile.clone(),
        stages: file.stages.iter().filter_map(|stage| stage.name.clone()).collect(),
    })
}

fn globals(file: &Dockerfile, request: &BuildRequest, target: &str, faults: &mut Collector) -> Globals {
    let mut globals = Globals::new(&request.args, target);
    for argument in &file.global_args {
        if let (Err(cause), Some(default)) = (globals.declare(argument, file.escape), &argument.default) {
            faults.report(default.at, Complaint::new(cause));
        }
    }
    globals
}

fn bases(file: &Dockerfile, globals: &Globals, faults: &mut Collector) -> Vec<Base> {
    let mut bases = Vec::new();
    for (index, stage) in file.stages.iter().enumerate() {
        if let Some(platform) = &stage.platform
            && let Err(complaint) = stage_platform(platform, globals, file.escape)
        {
            faults.report(platform.at, complaint);
        }
        bases.push(
            base(stage, &file.stages[..index], globals, file.escape).unwrap_or_else(|complaint| {
                faults.report(stage.base.at, complaint);
                Base::Scratch
            }),
        );
    }
    bases
}

fn stage_platform(platform: &Text, globals: &Globals, escape: char) -> Result<(), Complaint> {
    let platform = globals.expand(platform, escape).map_err(Complaint::new)?;
    match is_host(&platform) {
        true => Ok(()),
        false => {
            let host = host_architecture();
            Err(Complaint::new(format!(
                "this machine builds for linux/{host} and not for {platform:?}"
            )))
        }
    }
}

fn base(stage: &Stage, above: &[Stage], globals: &Globals, escape: char) -> Result<Base, Complaint> {
    let name = globals.expand(&stage.base, escape).map_err(Complaint::new)?;
    if name.is_empty() {
        let complaint = Complaint::new(format!("{} is empty once its variables are replaced", stage.base.raw));
        return Err(complaint.hint("only an ARG before the first FROM, or a value given to the build, counts here"));
    }
    let lower = name.to_lowercase();
    if lower == "scratch" {
        return Ok(Base::Scratch);
    }
    match above.iter().position(|stage| stage.name.as_deref() == Some(&lower)) {
        Some(index) => Ok(Base::Stage(index)),
        None => ImageReference::parse(&name).map(Base::Image).map_err(|error| {
            Complaint::new(format!(
                "{name:?} is neither a stage above nor an image: {}",
                error.reason
            ))
        }),
    }
}

fn dependencies(file: &Dockerfile, bases: &[Base], stage: usize) -> BTreeSet<usize> {
    let copied = file.stages[stage]
        .steps
        .iter()
        .filter_map(|step| match &step.instruction {
            Instruction::Copy(copy) => match copy.from {
                Some(CopyFrom::Stage(index)) => Some(index),
                _ => None,
            },
            _ => None,
        });
    let base = match bases[stage] {
        Base::Stage(index) => Some(index),
        _ => None,
    };
    copied.chain(base).collect()
}

/// Stages name only stages above them, so this ends.
fn needed(file: &Dockerfile, bases: &[Base], target: usize) -> Vec<usize> {
    let mut needed = BTreeSet::from([target]);
    let mut todo = vec![target];
    while let Some(stage) = todo.pop() {
        todo.extend(
            dependencies(file, bases, stage)
                .into_iter()
                .filter(|index| needed.insert(*index)),
        );
    }
    needed.into_iter().collect()
}

fn unused(file: &Dockerfile, request: &BuildRequest) -> Vec<String> {
    let in_stages = file
        .stages
        .iter()
        .flat_map(|stage| &stage.steps)
        .filter_map(|step| match &step.instruction {
            Instruction::Arg(arguments) => Some(arguments),
            _ => None,
        });
    let declared: BTreeSet<&str> = in_stages
        .flatten()
        .chain(&file.global_args)
        .map(|argument: &Argument| argument.name.as_str())
        .collect();
    let unused = |name: &&String| !declared.contains(name.as_str()) && !is_predefined(name);
    request.args.keys().filter(unused).cloned().collect()
}

/// A stage's name for people.
pub(super) fn stage_name(file: &Dockerfile, index: usize) -> String {
    file.stages[index]
        .name
        .clone()
        .unwrap_or_else(|| format!("stage-{index}"))
}

/// Reads a Dockerfile, and no more of it than any Dockerfile has.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    use std::io::Read;
    let read = || -> std::io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        let mut bytes = Vec::new();
        file.take(crate::dockerfile::MAX_DOCKERFILE as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| BuildError::DockerfileRead {
        path: path.to_owned(),
        source,
    })
}
