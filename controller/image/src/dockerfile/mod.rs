//! Reading Dockerfiles. The language is that of the Dockerfile reference, as `docker/dockerfile:1` reads it.
//!
//! The way of a file: [`lines`] joins continued lines and takes here-documents out, [`words`] cuts an instruction into
//! flags and words, [`parse`] makes typed instructions of them, [`expand`] replaces variables once the builder knows
//! their values. Nothing here touches the file system. All faults of a file come back together, as [`Faults`].
//!
//! Refused, each with its line: `ONBUILD`; `ADD` of URLs and Git repositories; `RUN --mount`,
//! `--security`, `--device`; `COPY --link`, `--parents`, `--exclude`; a `# syntax=` that names another language.

pub mod expand;
mod fault;
pub mod glob;
mod instruction;
mod lines;
mod parse;
pub mod values;
mod words;

use std::path::Path;

pub(crate) use fault::{Collector, Complaint, nearest};
pub use fault::{Fault, Faults, Position};
pub use instruction::{
    Argument, Command, Copy, CopyFrom, CopyKind, Dockerfile, Healthcheck, Instruction, Run, RunNetwork, Source, Stage,
    Step, Text,
};
pub use lines::Heredoc;
pub(crate) use parse::{is_remote, leads_out};

use parse::Parsed;

/// Largest Dockerfile read, in bytes.
pub const MAX_DOCKERFILE: usize = 1 << 20;

/// Parses the Dockerfile `bytes` that were read from `path`; the path is only for the faults.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Dockerfile, Faults> {
    let fail = |faults| Faults {
        path: path.to_owned(),
        faults,
    };
    let source = text_of(bytes).map_err(|fault| fail(vec![fault]))?;
    let mut faults = Collector::new(source);
    let dockerfile = parse_source(source, &mut faults);
    match faults.finish() {
        faults if faults.is_empty() => Ok(dockerfile),
        faults => Err(fail(faults)),
    }
}

/// The bytes as text, if a Dockerfile can hold them.
fn text_of(bytes: &[u8]) -> Result<&str, Fault> {
    let fault = |line: usize, cause: String| Fault {
        at: Position {
            line: line as u32,
            column: 1,
        },
        snippet: String::new(),
        cause,
        hint: None,
        nearest: None,
    };
    let line_of = |offset: usize| bytes[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
    if bytes.len() > MAX_DOCKERFILE {
        return Err(fault(
            1,
            format!("the file has {} bytes, and {MAX_DOCKERFILE} are allowed", bytes.len()),
        ));
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(fault(line_of(offset), "the line holds a zero byte".into()));
    }
    std::str::from_utf8(bytes).map_err(|error| fault(line_of(error.valid_up_to()), "the line is not UTF-8".into()))
}

fn parse_source(source: &str, faults: &mut Collector) -> Dockerfile {
    let lines::Lines { escape, lines } = lines::read(source, faults);
    let mut dockerfile = Dockerfile {
        escape,
        global_args: Vec::new(),
        stages: Vec::new(),
    };
    for line in &lines {
        match parse::parse_line(line, escape, &dockerfile.stages) {
            Ok(Parsed::From(stage)) => dockerfile.stages.push(stage),
            Ok(Parsed::Step(step)) => match (dockerfile.stages.last_mut(), step.instruction) {
                (Some(stage), instruction) => stage.steps.push(Step { instruction, ..step }),
                (None, Instruction::Arg(arguments)) => dockerfile.global_args.extend(arguments),
                (None, _) => faults.report(step.at, before_from()),
            },
            Err((at, complaint)) => {
                // A stage whose FROM is wrong still counts, so that the lines below mean what they were meant to.
                dockerfile
                    .stages
                    .extend(parse::is_from(line).then(|| Stage::unreadable(at)));
                faults.report(at, complaint);
            }
        }
    }
    if dockerfile.stages.is_empty() {
        let last = lines
            .last()
            .map_or(Position { line: 1, column: 1 }, |line| line.position(0));
        faults.report(
            last,
            Complaint::new("the file has no FROM").hint("begin with `FROM image` or `FROM scratch`"),
        );
    }
    dockerfile
}

fn before_from() -> Complaint {
    Complaint::new("only ARG may come before the first FROM").hint("begin with `FROM image` or `FROM scratch`")
}
