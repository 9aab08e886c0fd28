//! One file a command, and the one place that runs them.

mod check;
#[cfg(feature = "local")]
mod doctor;
mod manifest;
mod manual;

use crate::args::Command;
use crate::failure::CommandResult;
use crate::output::Output;

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
        #[cfg(feature = "local")]
        Command::Doctor => doctor::doctor(output),
    }
}
