//! One file a command, and the one place that runs them.

mod apply;
mod build;
mod check;
mod controller;
mod delete;
#[cfg(feature = "local")]
mod doctor;
mod exec;
mod history;
mod image;
#[cfg(feature = "kubernetes")]
mod import;
mod logs;
mod manifest;
mod manual;
#[cfg(feature = "kubernetes")]
mod operator;
mod orders;
mod plan;
mod port_forward;
mod promote;
mod render;
mod rollback;
mod run;
mod stats;
mod status;
mod usage;

use crate::args::Command;
use crate::failure::{CommandResult, Failure};
use crate::output::Output;
use crate::session::Deployed;
use crate::unprivileged::Entered;

/// Runs the command; those that wait for a target or a registry get an async runtime.
pub fn run(command: Command, entered: &Entered, output: Output) -> CommandResult {
    if output.is_markdown() && !matches!(command, Command::Plan(_)) {
        return Err(
            Failure::usage("FormatUnsupported", "only `plan` answers in Markdown").hint("use -o human, json or yaml")
        );
    }
    match command {
        Command::Init(arguments) => manifest::init(&arguments, output),
        Command::Validate(arguments) => manifest::validate(&arguments, output),
        Command::Check(arguments) => check::check(&arguments, output),
        Command::Plan(arguments) => wait(plan::plan(arguments, output)),
        Command::Render(arguments) => wait(render::render(arguments, output)),
        #[cfg(feature = "kubernetes")]
        Command::Import(arguments) => wait(import::import(arguments, output)),
        Command::Apply(arguments) => wait(apply::apply(arguments, output)),
        Command::Up(arguments) => wait(apply::up(arguments, output)),
        Command::Promote(arguments) => wait(promote::promote(arguments, output)),
        Command::Retry(arguments) => wait(rollback::retry(arguments, output)),
        Command::Rollback(arguments) => wait(rollback::rollback(arguments, output)),
        Command::Controller(arguments) => wait(controller::controller(arguments, output)),
        Command::Suspend(arguments) => orders::suspend(&arguments, output),
        Command::Resume(arguments) => orders::resume(&arguments, output),
        Command::Reconcile(arguments) => orders::reconcile(&arguments, output),
        Command::Approve(arguments) => wait(orders::approve(arguments, output)),
        Command::Status(arguments) => wait(status::status(arguments, output)),
        Command::Wait(arguments) => wait(status::wait(arguments, output)),
        Command::Logs(arguments) => wait(logs::logs(arguments, output)),
        Command::Stats(arguments) => wait(stats::stats(arguments, output)),
        Command::Exec(arguments) => wait(exec::exec(arguments, output)),
        Command::PortForward(arguments) => wait(port_forward::port_forward(arguments, output)),
        Command::Run(arguments) => wait(run::run(arguments, output)),
        Command::History(arguments) => history::history(&arguments, output),
        Command::Delete(arguments) => wait(delete::delete(arguments, output)),
        Command::Build(arguments) => wait(build::build(arguments, output)),
        Command::Push(arguments) => wait(image::push(arguments, output)),
        Command::Pull(arguments) => wait(image::pull(arguments, output)),
        Command::Image(command) => image::image(command, output),
        #[cfg(feature = "local")]
        Command::Doctor => doctor::doctor(entered, output),
        Command::Explain(arguments) => manifest::explain(&arguments, output),
        Command::Schema => manifest::schema(),
        Command::Crd => manifest::crd(),
        Command::Completion(arguments) => manual::completion(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
    }
}

fn wait(command: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new("RuntimeFailed", "cannot start").because(error.to_string()))?;
    let result = runtime.block_on(command);
    // A blocked read of stdin must not keep the process.
    runtime.shutdown_background();
    result
}

fn unsupported(command: &str, deployed: &Deployed) -> Failure {
    let provider = deployed.provider.shape.name();
    Failure::new("Unsupported", format!("the provider `{provider}` has no `{command}`"))
}
