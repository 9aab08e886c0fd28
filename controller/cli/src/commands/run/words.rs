//! What a job prints while it runs, and whatever is left of that when it has ended.
//!
//! Somewhere a job that runs again has a place of its own, elsewhere what it printed before is in the same log. So it is noted
//! first how far each log has come, and told is what stands behind that; no clock of another machine is compared with ours.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portolan_core::plan::Scope;
use portolan_provider_api::operations::{LogLine, LogQuery};
use portolan_provider_api::{CallError, Logs};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::super::logs::shown;
use crate::failure::Failure;
use crate::output::{Output, print};
use crate::session::{Deployed, Session};

/// Between a log that has come to its end, or is not there yet, and a look for another one.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What a job printed last may be in its log only after its end.
const LAST_LINES: Duration = Duration::from_millis(300);

pub struct Words {
    logs: Arc<dyn Logs>,
    scope: Scope,
    job: String,
    told: Told,
    output: Output,
}

impl Words {
    /// From now on: what the job printed before is in `portolan logs`. None where nobody can read it.
    pub async fn from_now_on(
        session: &Session,
        deployed: &Deployed,
        job: &str,
        output: Output,
    ) -> Result<Option<Self>, Failure> {
        let is_job = deployed.deployment.app().spec.jobs.contains_key(job);
        let Some(logs) = deployed.provider.logs.clone().filter(|_| is_job) else {
            return Ok(None);
        };
        let mut words = Self {
            logs,
            scope: session.scope(deployed).await?,
            job: job.to_string(),
            told: Told::default(),
            output,
        };
        words.read().await?;
        Ok(Some(words))
    }

    /// As they come. The job goes on without its words: what cannot be read is looked for again, and how it ends is asked
    /// elsewhere.
    pub async fn follow(&mut self) -> Infallible {
        loop {
            if let Ok(mut lines) = self.lines(true).await {
                let mut reading = Reading::default();
                while let Some(Ok(line)) = lines.recv().await {
                    if self.told.take(&line, &mut reading) {
                        say(&line, self.output);
                    }
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Those of a job that has ended: all that was not told yet.
    pub async fn rest(&mut self) -> Result<(), CallError> {
        sleep(LAST_LINES).await;
        for line in self.read().await? {
            say(&line, self.output);
        }
        Ok(())
    }

    /// What is new.
    async fn read(&mut self) -> Result<Vec<LogLine>, CallError> {
        let mut lines = match self.lines(false).await {
            Ok(lines) => lines,
            // Nothing of it is there yet, or any more.
            Err(failure) if failure.code == "NotRunning" => return Ok(Vec::new()),
            Err(failure) => return Err(failure),
        };
        let (mut new, mut reading) = (Vec::new(), Reading::default());
        while let Some(line) = lines.recv().await {
            let line = line?;
            if self.told.take(&line, &mut reading) {
                new.push(line);
            }
        }
        Ok(new)
    }

    async fn lines(&self, follow: bool) -> Result<mpsc::Receiver<Result<LogLine, CallError>>, CallError> {
        let query = LogQuery {
            workloads: vec![self.job.clone()],
            follow,
            ..LogQuery::default()
        };
        self.logs.logs(&self.scope, query).await
    }
}

fn say(line: &LogLine, output: Output) {
    match output.is_machine() {
        true => print(&shown(line, output)),
        false => print(&format!("{}\n", line.text)),
    }
}

/// Of which container.
type Log = (String, String);

/// How far each log was told: the time of its last line, and how many of its lines have that time.
#[derive(Default)]
struct Told(BTreeMap<Log, (SystemTime, usize)>);

/// One reading of all logs from their beginning: how many lines of the time told last have come, or that what comes is new.
#[derive(Default)]
struct Reading(BTreeMap<Log, Passed>);

#[derive(Clone, Copy)]
enum Passed {
    /// Of those with the very time.
    Old(usize),
    All,
}

impl Told {
    /// Whether it is behind what was told, which it then belongs to.
    fn take(&mut self, line: &LogLine, reading: &mut Reading) -> bool {
        let log = (line.replica.clone(), line.container.clone());
        let told = self.0.get(&log).copied();
        let passed = reading.0.entry(log.clone()).or_insert(Passed::Old(0));
        *passed = match (*passed, told) {
            (Passed::All, _) | (_, None) => Passed::All,
            (Passed::Old(_), Some((time, _))) if line.time > time => Passed::All,
            (Passed::Old(same), Some((time, count))) if line.time == time && same == count => Passed::All,
            (Passed::Old(same), Some((time, _))) => Passed::Old(same + usize::from(line.time == time)),
        };
        let is_new = matches!(passed, Passed::All);
        if is_new {
            let (time, count) = told.unwrap_or((line.time, 0));
            let last = match line.time > time {
                true => (line.time, 1),
                false => (time, count + usize::from(line.time == time)),
            };
            self.0.insert(log, last);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line((replica, second, text): (&str, u64, &str)) -> LogLine {
        LogLine {
            workload: "migrate".into(),
            replica: replica.into(),
            container: "migrate".into(),
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
            stderr: false,
            text: text.into(),
        }
    }

    #[test]
    fn each_line_is_told_once_however_often_a_log_is_read() {
        let mut told = Told::default();
        let before = [("0", 1, "before"), ("0", 2, "before")];
        for (reason, log, expected) in [
            ("what was there first", before.to_vec(), vec!["before", "before"]),
            ("the same again", before.to_vec(), vec![]),
            (
                "behind it, at the same time and later",
                [&before[..], &[("0", 2, "a"), ("0", 3, "b")]].concat(),
                vec!["a", "b"],
            ),
            (
                "of two that are written at once either may come first",
                [
                    &before[..],
                    &[("0", 2, "a"), ("0", 3, "b"), ("0", 5, "c"), ("0", 4, "d")],
                ]
                .concat(),
                vec!["c", "d"],
            ),
            ("whose beginning is gone", vec![("0", 5, "c"), ("0", 6, "e")], vec!["e"]),
            (
                "another one, whatever its clock says",
                vec![("0", 6, "e"), ("1", 1, "f"), ("1", 1, "g")],
                vec!["f", "g"],
            ),
            ("none any more", vec![], vec![]),
        ] {
            let mut reading = Reading::default();
            let new = log.into_iter().map(line).filter(|line| told.take(line, &mut reading));
            assert_eq!(new.map(|line| line.text).collect::<Vec<_>>(), expected, "{reason}");
        }
    }
}
