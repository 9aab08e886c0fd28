//! `portolan controller --kubernetes`: Apps that are Kubernetes objects, kept until it is stopped.

use std::sync::Arc;

use portolan_core::diagnostic::Diagnostic;
use portolan_engine::controller::Board;
use portolan_image::ReferencedImages;
use portolan_operator::{Cluster, Operator, OperatorError, Settings, Shards, Webhook};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::controller::{serve, settings};
use crate::args::ControllerArgs;
use crate::failure::{CommandResult, Failure, exit};
use crate::folders::Folders;
use crate::interrupt;
use crate::output::Output;
use crate::targets::OfCluster;

/// Apps that are worked on at the same time: an API server takes more requests at once than other platforms.
const AT_ONCE: usize = 32;

pub async fn operator(arguments: ControllerArgs, output: Output) -> CommandResult {
    let mut controller = settings(&arguments)?;
    controller.at_once = AT_ONCE;
    let shards = arguments.shards.unwrap_or(1);
    controller.most = most(open_files() / u64::from(shards));
    let folders = Folders::of_this_user()?;
    let cluster = Cluster::connect(arguments.context.as_deref()).await;
    let cluster = cluster.map_err(|error| failure(&error))?;
    let stop = interrupt::listen();
    let board = Arc::new(Board::default());
    let dashboard = serve(&arguments.listen, board.clone(), &stop, output).await?;
    let webhook = judge(&arguments, &stop, output).await?;
    let shards = Arc::new(Shards::new(shards));
    let harbours = OfCluster::new(cluster.clone(), arguments.namespace.as_deref(), shards.clone());
    let operator = Operator {
        harbours: Arc::new(harbours),
        images: Arc::new(ReferencedImages::open()?),
        cluster,
        board,
        shards,
        settings: Settings {
            controller,
            namespace: arguments.namespace,
            state: folders.state,
        },
    };
    let ended = operator.run(stop).await;
    dashboard.abort();
    webhook.abort();
    ended.map_err(|error| failure(&error))?;
    output.say("stopped: what runs goes on, and the next controller takes it up");
    Ok(exit::DONE)
}

/// Turns at the same time, each of which holds a file: half of those that a shard may have, so that they have room for more, and no
/// more than memory should hold.
fn most(files: u64) -> usize {
    usize::try_from(files / 2).unwrap_or(usize::MAX).clamp(50, 2_000)
}

/// As many as this process may have open from now on.
fn open_files() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        ..before
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => before.maximum,
        Err(_) => before.current,
    };
    now.unwrap_or(u64::MAX)
}

/// The webhook, if one is wanted: before the Lease is, since those who stand by answer too.
async fn judge(
    arguments: &ControllerArgs,
    stop: &watch::Receiver<bool>,
    output: Output,
) -> Result<JoinHandle<()>, Failure> {
    let Some((address, folder)) = arguments.webhook.zip(arguments.webhook_certificate.clone()) else {
        return Ok(tokio::spawn(async {}));
    };
    let refused = |error: std::io::Error| {
        Failure::new("WebhookUnusable", format!("no webhook can be offered at {address}"))
            .because(error.to_string())
            .hint("--webhook takes an address that is free, --webhook-certificate a folder with tls.crt and tls.key")
    };
    let webhook = Webhook::bind(address, folder).await.map_err(refused)?;
    let address = webhook.address().map_err(refused)?;
    output.say(&format!("what is wrong is refused by: https://{address}/validate"));
    Ok(tokio::spawn(webhook.run(stop.clone())))
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
