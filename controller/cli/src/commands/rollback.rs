//! `portolan retry` and `portolan rollback`: what the journal holds, once more. The manifest tells only which app on
//! which target; the next `apply` brings what it says, as ever.

use portolan_engine::Wish;

use super::apply::{How, carry_out};
use crate::args::{OneAppArgs, RetryArgs, RollbackArgs};
use crate::failure::CommandResult;
use crate::manifests;
use crate::output::Output;

pub async fn retry(arguments: RetryArgs, output: Output) -> CommandResult {
    let deployments = manifests::select_for_change(&arguments.select)?;
    let how = How {
        wish: Wish::Again { retry: true },
        ..How::applying(arguments.how, output)
    };
    carry_out(deployments, how, output).await
}

pub async fn rollback(arguments: RollbackArgs, output: Output) -> CommandResult {
    let deployment = manifests::select_one(&OneAppArgs {
        manifests: arguments.manifests,
        app: arguments.app,
        target: arguments.target,
    })?;
    let how = How {
        wish: Wish::Rollback { to: arguments.to },
        ..How::applying(arguments.how, output)
    };
    carry_out(vec![deployment], how, output).await
}
