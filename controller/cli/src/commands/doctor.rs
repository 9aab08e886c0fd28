//! `portolan doctor`: what this machine can and cannot do, each with its remedy.

use std::path::PathBuf;

use portolan_oci::error::chain;
use portolan_oci::userns::Ids;
use portolan_provider_local::doctor::{Finding, Privilege, Verdict, examine};
use serde::Serialize;

use crate::failure::{CommandResult, Failure, exit};
use crate::folders::{Folders, runtime, supervisor};
use crate::output::Output;
use crate::unprivileged::Entered;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    machine: Vec<Finding>,
    programs: Vec<Program>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Program {
    name: &'static str,
    path: Option<String>,
}

pub fn doctor(entered: &Entered, output: Output) -> CommandResult {
    let program = |name, found: Result<PathBuf, Failure>| Program {
        name,
        path: found.ok().map(|path| path.display().to_string()),
    };
    let report = Report {
        machine: examine(&Folders::of_this_user()?.data, &privilege(entered)),
        programs: vec![
            program("portolan-supervisor", supervisor()),
            program("portolan-runtime", runtime()),
        ],
    };
    output.answer(&report, || human(&report));
    let missing = report.machine.iter().any(|finding| finding.verdict == Verdict::Missing)
        || report.programs.iter().any(|program| program.path.is_none());
    Ok(if missing { exit::FAILED } else { exit::DONE })
}

fn privilege(entered: &Entered) -> Privilege {
    match entered {
        Ok(None) => Privilege::Root,
        Ok(Some(namespace)) => Privilege::Namespace {
            further: match namespace.ids {
                Ids::Range(further) => further,
                _ => 0,
            },
            lacking: namespace.lacking.clone(),
        },
        Err(error) => Privilege::None(chain(error)),
    }
}

fn human(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.machine {
        let word = match finding.verdict {
            Verdict::Fine => "fine",
            Verdict::Limited => "limited",
            Verdict::Missing => "missing",
        };
        text.push_str(&format!("{word:8} {:11} {}\n", finding.subject, finding.detail));
        if let Some(remedy) = finding.remedy {
            text.push_str(&format!("{:20} remedy: {remedy}\n", ""));
        }
    }
    for program in &report.programs {
        match &program.path {
            Some(path) => text.push_str(&format!("fine     {} {path}\n", program.name)),
            None => text.push_str(&format!(
                "missing  {}\n{:20} remedy: build it with `cargo build --release`\n",
                program.name, ""
            )),
        }
    }
    text
}
