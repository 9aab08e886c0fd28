//! `portolan completion` and `portolan man`: made from the same arguments that are parsed.

use clap::CommandFactory;

use crate::args::{Cli, CompletionArgs, ManArgs};
use crate::failure::{CommandResult, Failure, exit};
use crate::output::print;

pub fn completion(arguments: &CompletionArgs) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "portolan", &mut script);
    print(&String::from_utf8_lossy(&script));
    Ok(exit::DONE)
}

pub fn man(arguments: &ManArgs) -> CommandResult {
    let mut root = Cli::command();
    root.build();
    let page = match &arguments.command {
        None => root,
        Some(name) => root.find_subcommand(name).cloned().ok_or_else(|| Failure {
            exit: exit::USAGE,
            ..Failure::new("CommandNotFound", format!("there is no command `{name}`"))
        })?,
    };
    let mut text = Vec::new();
    let rendered = clap_mangen::Man::new(page).render(&mut text);
    rendered.map_err(|error| Failure::new("WriteFailed", "cannot write the page").because(error.to_string()))?;
    print(&String::from_utf8_lossy(&text));
    Ok(exit::DONE)
}
