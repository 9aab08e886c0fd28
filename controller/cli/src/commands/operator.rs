//! `portolan controller --kubernetes`: Apps that are Kubernetes objects, kept until it is stopped.

use std::sync::Arc;

use portolan_core::diagnostic::Diagnostic;
use portolan_engine::controller::{Board, Changes};
use portolan_image::ReferencedImages;
use portolan_operator::{Cluster, Operator, OperatorError, Settings};

use super::controller::{serve, settings};
use crate::args::ControllerArgs;
use crate::failure::{CommandResult, Failure, exit};
use crate::folders::Folders;
use crate::interrupt;
use crate::output::Output;
use crate::targets::OfCluster;

pub async fn operator(arguments: ControllerArgs, output: Output) -> CommandResult {
    let controller = settings(&arguments)?;
    let folders = Folders::of_this_user()?;
    let cluster = Cluster::connect(arguments.context.as_deref()).await;
    let cluster = cluster.map_err(|error| failure(&error))?;
    let stop = interrupt::listen();
    let board = Arc::new(Board::default());
    let dashboard = serve(&arguments.listen, board.clone(), &stop, output).await?;
    let changes = Arc::new(Changes::default());
    let harbours = OfCluster::new(cluster.clone(), arguments.namespace.as_deref(), changes.clone());
    let operator = Operator {
        harbours: Arc::new(harbours),
        images: Arc::new(ReferencedImages::open()?),
        cluster,
        board,
        changes,
        settings: Settings {
            controller,
            namespace: arguments.namespace,
            state: folders.state,
        },
    };
    let ended = operator.run(stop).await;
    dashboard.abort();
    ended.map_err(|error| failure(&error))?;
    output.say("stopped: what runs goes on, and the next controller takes it up");
    Ok(exit::DONE)
}

fn failure(error: &OperatorError) -> Failure {
    let told = Diagnostic::error(error.code(), error.to_string());
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let told = causes.fold(told, |told, cause| told.because(cause.to_string()));
    match error {
        OperatorError::LeaseLost { .. } => {
            told.hint("another controller goes on with it; start this one again to stand by")
        }
        OperatorError::Shared { .. } => told.hint("one controller a folder: PORTOLAN_HOME names another one"),
        _ => told,
    }
    .into()
}
