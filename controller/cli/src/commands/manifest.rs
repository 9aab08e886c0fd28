//! Commands about manifests alone: `init`, `validate`, `explain`, `schema`, `crd`.

use std::fs;
use std::io::Write;

use portolan_core::diagnostic::Diagnostic;
use portolan_core::parse;
use serde_json::json;

use crate::args::{ExplainArgs, InitArgs, ManifestArgs};
use crate::failure::{CommandResult, Failure, exit};
use crate::manifests;
use crate::output::{Output, print};

pub fn init(arguments: &InitArgs, output: Output) -> CommandResult {
    let folder = fs::canonicalize(&arguments.folder).map_err(|error| {
        Failure::new(
            "FolderUnreadable",
            format!("cannot open {}", arguments.folder.display()),
        )
        .because(error.to_string())
    })?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let name = portolan_core::init::app_name(&name);
    let path = folder.join("portolan.yaml");
    // create_new: a file that somebody wrote is never overwritten.
    let file = fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(portolan_core::init::manifest(&name).as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new("ManifestExists", format!("{} is there already", path.display()))
                .hint("change it, or choose another folder")
        }
        _ => Failure::new("WriteFailed", format!("cannot write {}", path.display())).because(error.to_string()),
    })?;
    output.say(&format!(
        "wrote {}; `portolan validate` and `portolan check` look at it",
        path.display()
    ));
    Ok(exit::DONE)
}

pub fn validate(arguments: &ManifestArgs, output: Output) -> CommandResult {
    let (documents, mut diagnostics) = parse::parse_files(manifests::read_files(arguments)?);
    if !diagnostics.iter().any(Diagnostic::is_error) {
        diagnostics.extend(parse::check_links(&documents));
    }
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    match output.is_machine() {
        true => output.answer(
            &json!({"documents": documents.len(), "diagnostics": diagnostics}),
            String::new,
        ),
        false => output.diagnostics(&diagnostics),
    }
    if errors > 0 {
        output.say(&format!("{errors} {}", if errors == 1 { "fault" } else { "faults" }));
        return Ok(exit::FAILED);
    }
    output.say(&format!(
        "{} {} good",
        documents.len(),
        if documents.len() == 1 {
            "document is"
        } else {
            "documents are"
        }
    ));
    Ok(exit::DONE)
}

pub fn explain(arguments: &ExplainArgs, output: Output) -> CommandResult {
    let text = match arguments.field.as_str() {
        "env" => explain_env(),
        field => portolan_core::explain::explain(field)?,
    };
    let answer = json!({"field": arguments.field, "text": text});
    output.answer(&answer, || text);
    Ok(exit::DONE)
}

/// The variables that every app sees, the same on every target.
fn explain_env() -> String {
    let width = portolan_core::resolve::STANDARD_ENV
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    let line = |(name, meaning): &(&str, &str)| format!("{name:width$}  {meaning}\n");
    portolan_core::resolve::STANDARD_ENV.iter().map(line).collect()
}

pub fn schema() -> CommandResult {
    print(portolan_crds::JSON_SCHEMA);
    Ok(exit::DONE)
}

pub fn crd() -> CommandResult {
    print(&format!("{}---\n{}", portolan_crds::APP_CRD, portolan_crds::TARGET_CRD));
    Ok(exit::DONE)
}
