//! `portolan logs`.

use std::time::{SystemTime, UNIX_EPOCH};

use portolan_provider_api::operations::{LogLine, LogQuery};
use serde_json::json;

use crate::args::{LogsArgs, ManifestArgs, OneAppArgs};
use crate::failure::{CommandResult, Failure, exit};
use crate::interrupt;
use crate::manifests::select_one;
use crate::moment;
use crate::output::{Output, print};
use crate::session::Session;

pub async fn logs(arguments: LogsArgs, output: Output) -> CommandResult {
    if let Some(path) = arguments
        .workloads
        .iter()
        .find(|name| name.ends_with(".yaml") || name.ends_with(".yml"))
    {
        return Err(Failure::usage("Invalid", format!("`{path}` is no service or job"))
            .hint("`-f` is --follow here; a manifest is named by --file"));
    }
    let deployment = select_one(&OneAppArgs {
        manifests: ManifestArgs { files: arguments.files },
        app: arguments.app,
        target: arguments.target,
    })?;
    let session = Session::open(output)?;
    let deployed = session.deployed(deployment)?;
    let Some(logs) = &deployed.provider.logs else {
        return Err(super::unsupported("logs", &deployed));
    };
    let since = arguments
        .since
        .as_deref()
        .map(|text| moment::since(text, SystemTime::now()));
    let query = LogQuery {
        workloads: arguments.workloads,
        container: arguments.container,
        follow: arguments.follow,
        tail: arguments.tail,
        since: since.transpose()?,
    };
    let mut lines = logs.logs(&session.scope(&deployed).await?, query).await?;
    let stop = interrupt::interrupted(interrupt::listen());
    tokio::pin!(stop);
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => print(&shown(&line?, output)),
                None => return Ok(exit::DONE),
            },
            () = &mut stop => return Ok(exit::INTERRUPTED),
        }
    }
}

/// `web-0 stats  GET /`, or one JSON object a line.
pub fn shown(line: &LogLine, output: Output) -> String {
    if !output.is_machine() {
        let container = match line.container == line.workload {
            true => String::new(),
            false => format!("/{}", line.container),
        };
        return format!("{}-{}{container}  {}\n", line.workload, line.replica, line.text);
    }
    let since = line.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let value = json!({
        "timeUnixMs": since.as_millis() as u64,
        "workload": line.workload,
        "replica": line.replica,
        "container": line.container,
        "stream": if line.stderr { "stderr" } else { "stdout" },
        "text": line.text,
    });
    format!("{value}\n")
}
