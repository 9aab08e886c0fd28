//! One file a command, and the one place that runs them.

mod apply;
mod build;
mod check;
mod day_two;
mod delete;
mod doctor;
mod history;
mod image;
mod manual;
mod manifest;
mod plan;
mod run;
mod status;

use crate::args::Command;
use crate::failure::{CommandResult, Failure};
use crate::output::Output;

/// Runs the command; those that wait or do I/O beside the file system get a runtime.
pub fn run(command: Command, output: Output) -> CommandResult {
    match command {
        Command::Init(arguments) => manifest::init(&arguments, output),
        Command::Validate(arguments) => manifest::validate(&arguments, output),
        Command::Explain(arguments) => manifest::explain(&arguments),
        Command::Schema => manifest::schema(),
        Command::Crd => manifest::crd(),
        Command::Completion(arguments) => manual::completion(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
        Command::Check(arguments) => check::check(&arguments, output),
        Command::Doctor => doctor::doctor(output),
        Command::Plan(arguments) => wait(plan::plan(arguments, output)),
        Command::Apply(arguments) => wait(apply::apply(arguments, output)),
        Command::Up(arguments) => wait(apply::up(arguments, output)),
        Command::Status(arguments) => wait(status::status(arguments, output)),
        Command::Wait(arguments) => wait(status::wait(arguments, output)),
        Command::Logs(arguments) => wait(day_two::logs(arguments, output)),
        Command::Exec(arguments) => wait(day_two::exec(arguments, output)),
        Command::Run(arguments) => wait(run::run(arguments, output)),
        Command::History(arguments) => wait(history::history(arguments, output)),
        Command::Delete(arguments) => wait(delete::delete(arguments, output)),
        Command::Build(arguments) => wait(build::build(arguments, output)),
        Command::Push(arguments) => wait(image::push(arguments, output)),
        Command::Pull(arguments) => wait(image::pull(arguments, output)),
        Command::Image(command) => image::image(command, output),
    }
}

fn wait(command: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("RuntimeFailed", "cannot start").because(error.to_string()))?;
    let result = runtime.block_on(command);
    // A blocked read of stdin must not keep the process.
    runtime.shutdown_background();
    result
}
