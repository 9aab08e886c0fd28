//! `portolan promote`: a rollout that pauses goes on.

use portolan_core::plan::PlanOptions;
use portolan_engine::{PromoteHow, Wish};

use super::apply::{How, carry_out_in};
use crate::args::{OneAppArgs, PromoteArgs};
use crate::audience::Consent;
use crate::failure::{CommandResult, exit};
use crate::manifests::select_one;
use crate::output::Output;
use crate::session::{Session, in_turn};

/// Steps of the plan that have waited for the promotion are taken after it.
pub async fn promote(arguments: PromoteArgs, output: Output) -> CommandResult {
    let session = Session::open(output)?;
    let deployed = session.deployed(select_one(&OneAppArgs {
        manifests: arguments.manifests,
        app: arguments.app,
        target: arguments.target,
    })?)?;
    let work = deployed.work(Wish::Again { retry: false }, PlanOptions::default());
    let service = arguments.service.as_deref();
    let promote = PromoteHow {
        full: arguments.full,
        dry_run: arguments.dry_run,
        only: None,
    };
    let engine = &session.engine;
    let promoted = in_turn(|| engine.promote(&deployed.provider, &work, service, promote.clone())).await;
    let promoted = promoted.map_err(|error| deployed.failure(error))?;
    if arguments.dry_run {
        output.answer(&promoted, || format!("{}\n", promoted.join("\n")));
        return Ok(exit::CHANGES);
    }
    for name in promoted {
        session.progress.line(&format!("promoted {name}"));
    }
    let how = How {
        wish: work.wish,
        options: work.options,
        no_wait: arguments.no_wait,
        dry_run: false,
        consent: Consent::of(false, output.is_machine()),
    };
    carry_out_in(&session, &[deployed], how, output).await
}
