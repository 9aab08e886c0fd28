//! `portolan stats`: what running containers use, beside their limits.

use std::time::Duration;

use portolan_core::plan::Scope;
use portolan_provider_api::operations::Usage;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::usage::{notes, of_limit, rounded};
use crate::args::SelectArgs;
use crate::failure::{CommandResult, Failure, exit};
use crate::manifests;
use crate::output::Output;
use crate::session::{Deployed, Session};

/// Processor time is a rate: it is looked at twice, so far apart.
const INTERVAL: Duration = Duration::from_millis(500);

/// One container, in the units of a manifest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    app: String,
    /// `web-1`, or `web-1/sidecar`.
    container: String,
    cpu: Option<String>,
    cpu_limit: Option<String>,
    memory: Option<String>,
    memory_limit: Option<String>,
    pids: Option<u64>,
    pids_limit: Option<u64>,
    restarts: u32,
    up_seconds: u64,
    /// What its limits did to it, in one clause each.
    notes: Vec<String>,
}

pub async fn stats(arguments: SelectArgs, output: Output) -> CommandResult {
    let deployments = manifests::select(&arguments)?;
    let session = Session::open(output)?;
    let mut rows = vec![];
    for deployed in session.deployed_all(deployments)? {
        rows.extend(rows_of(&session, &deployed).await?);
    }
    output.answer(&rows, || table(&rows));
    Ok(exit::DONE)
}

async fn rows_of(session: &Session, deployed: &Deployed) -> Result<Vec<Row>, Failure> {
    let Some(stats) = &deployed.provider.stats else {
        return Err(super::unsupported("stats", deployed));
    };
    let scope: Scope = session.scope(deployed).await?;
    let (began, before) = (Instant::now(), stats.stats(&scope).await?);
    sleep(INTERVAL).await;
    let (passed, now) = (began.elapsed(), stats.stats(&scope).await?);
    let app = format!("{}/{}", scope.namespace, scope.app);
    Ok(now
        .iter()
        .map(|usage| row(&app, earlier(usage, &before), usage, passed))
        .collect())
}

/// The same run of the same container, or its start.
fn earlier(now: &Usage, before: &[Usage]) -> Usage {
    let same = |one: &&Usage| {
        (&one.workload, &one.replica, &one.container, one.restarts)
            == (&now.workload, &now.replica, &now.container, now.restarts)
    };
    before.iter().find(same).cloned().unwrap_or_default()
}

fn row(app: &str, before: Usage, now: &Usage, passed: Duration) -> Row {
    let part = match now.container == now.workload {
        true => String::new(),
        false => format!("/{}", now.container),
    };
    let used = now.cpu.map(|cpu| cpu.saturating_sub(before.cpu.unwrap_or_default()));
    Row {
        app: app.to_string(),
        container: format!("{}-{}{part}", now.workload, now.replica),
        cpu: used.map(|used| millicores(used, passed)),
        cpu_limit: now.cpu_limit.map(|limit| limit.to_string()),
        memory: now.memory.map(rounded),
        memory_limit: now.memory_limit.map(|limit| limit.to_string()),
        pids: now.pids,
        pids_limit: now.pids_limit,
        restarts: now.restarts,
        up_seconds: now.up.as_secs(),
        notes: notes(&before, now),
    }
}

/// `120m`. Whole cores are written so too: a column of one unit is read at a glance.
fn millicores(used: Duration, passed: Duration) -> String {
    format!("{}m", used.as_micros() * 1000 / passed.as_micros().max(1))
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "nothing runs\n".to_string();
    }
    let head = ["APP", "CONTAINER", "CPU", "MEMORY", "PIDS", "RESTARTS", "UP", ""].map(String::from);
    let lines: Vec<[String; 8]> = [head].into_iter().chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let line = |cells: &[String; 8]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let text = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", text.trim_end())
    };
    lines.iter().map(line).collect()
}

fn cells(row: &Row) -> [String; 8] {
    let text = |number: Option<u64>| number.map(|number| number.to_string());
    [
        row.app.clone(),
        row.container.clone(),
        of_limit(&row.cpu, &row.cpu_limit),
        of_limit(&row.memory, &row.memory_limit),
        of_limit(&text(row.pids), &text(row.pids_limit)),
        row.restarts.to_string(),
        up(row.up_seconds),
        row.notes.join("; "),
    ]
}

fn up(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use portolan_core::manifest::{ByteQuantity, CpuQuantity};

    use super::*;

    fn usage(cpu_ms: u64, periods: u64, throttled: u64) -> Usage {
        Usage {
            workload: "web".into(),
            replica: "1".into(),
            container: "web".into(),
            up: Duration::from_secs(180),
            cpu: Some(Duration::from_millis(cpu_ms)),
            cpu_limit: Some(CpuQuantity::from_millicores(500)),
            periods: Some(periods),
            throttled_periods: Some(throttled),
            memory: Some(ByteQuantity::from_bytes((48 << 20) - 5)),
            memory_limit: Some(ByteQuantity::from_bytes(256 << 20)),
            pids: Some(3),
            ..Usage::default()
        }
    }

    #[test]
    fn a_table_tells_rates_and_limits() {
        let row = row(
            "default/shop",
            usage(1000, 100, 0),
            &usage(1060, 105, 2),
            Duration::from_millis(500),
        );
        assert_eq!(
            table(&[row]),
            "APP           CONTAINER  CPU        MEMORY      PIDS  RESTARTS  UP\n\
             default/shop  web-1      120m/500m  48Mi/256Mi  3     0         3m  CpuThrottled: 40 % of the time (limit 500m)\n"
        );
    }

    #[test]
    fn a_container_that_began_in_between_is_counted_from_its_start() {
        let (before, mut now) = (usage(1000, 0, 0), usage(60, 0, 0));
        now.restarts = 1;
        assert_eq!(earlier(&now, &[before]), Usage::default());
    }
}
