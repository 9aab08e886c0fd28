//! `portolan`: what was typed, what it means, what came of it.
//!
//! `args.rs` is what can be typed; each command is a file in `commands/`; `manifests.rs` finds what it works on,
//! `targets.rs` the provider; `session.rs` opens what a command needs to reach it. Answers are printed by `output.rs`,
//! progress by `progress.rs`, failures by `failure.rs`. Deciding is left to core and the engine.

mod args;
mod audience;
mod commands;
mod failure;
mod folders;
mod image_progress;
mod interrupt;
mod manifests;
mod moment;
mod output;
mod plan_file;
mod progress;
mod session;
mod sources;
mod targets;
mod tracing_setup;
mod unprivileged;
mod watching;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use failure::exit;
use output::Output;

/// A controller of many apps holds and drops JSON in small pieces all the time: a quarter of its processor time was malloc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    tracing_setup::start(&cli.global);
    let output = Output::of(&cli.global);
    let command = tracing::info_span!("portolan", command = cli.command.name());
    let ended = command.in_scope(|| {
        let entered = unprivileged::enter(&cli.command)?;
        commands::run(cli.command, &entered, output)
    });
    let code = ended.unwrap_or_else(|failure| {
        output.diagnostics(&failure.diagnostics);
        failure.exit
    });
    ExitCode::from(code)
}

/// `--help` and `--version` answer on stdout with 0; everything else is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    _ = error.print();
    ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE })
}
