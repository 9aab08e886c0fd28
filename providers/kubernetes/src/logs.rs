//! What containers wrote, as the contract's stream: each container's own lines, merged by the times that kubelets give them.
//!
//! With `follow` the containers that are there when it begins are followed, each to its end. Kubelets keep one stream a
//! container: what was written to stderr is among the rest.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::{AsyncBufReadExt, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use portolan_core::plan::Scope;
use portolan_provider_api::operations::{LogLine, LogQuery};
use portolan_provider_api::{CallError, Logs};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::client::{Cluster, KubeCluster, LogRequest};
use crate::error;
use crate::kinds::POD;
use crate::names::{label, selector_of};
use crate::read::{items, text};
use crate::render::KubernetesShape;

pub struct KubernetesLogs {
    cluster: Arc<KubeCluster>,
    shape: Arc<KubernetesShape>,
}

/// One container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    workload: String,
    pod: String,
    container: String,
}

type Lines = mpsc::Receiver<Result<LogLine, CallError>>;

impl KubernetesLogs {
    pub fn new(cluster: Arc<KubeCluster>, shape: Arc<KubernetesShape>) -> Self {
        Self { cluster, shape }
    }

    async fn sources(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Source>, CallError> {
        let place = self.shape.kube_namespace(&scope.namespace);
        let pods = self.cluster.list(&POD, place, &selector_of(scope)).await?;
        let all: Vec<Source> = pods.iter().flat_map(sources_of).collect();
        for name in &query.workloads {
            if !all.iter().any(|source| source.workload == *name) {
                return Err(error::unknown_workload(scope, name));
            }
        }
        Ok(all.into_iter().filter(|source| is_wanted(source, query)).collect())
    }
}

/// Of containers that have begun: the others have no lines, and asking for them is an error.
fn sources_of(pod: &Value) -> Vec<Source> {
    let workload = pod["metadata"]["labels"].get(label::NAME).and_then(Value::as_str);
    let (Some(workload), Some(name)) = (workload, text(pod, "/metadata/name")) else {
        return Vec::new();
    };
    let statuses = items(pod, "/status/initContainerStatuses").chain(items(pod, "/status/containerStatuses"));
    let begun = statuses.filter(|one| {
        let now = &one["state"];
        now.get("running").is_some() || now.get("terminated").is_some() || one["lastState"].get("terminated").is_some()
    });
    let source = |container: &Value| {
        Some(Source {
            workload: workload.to_string(),
            pod: name.to_string(),
            container: text(container, "/name")?.to_string(),
        })
    };
    begun.filter_map(source).collect()
}

fn is_wanted(source: &Source, query: &LogQuery) -> bool {
    let workload = query.workloads.is_empty() || query.workloads.contains(&source.workload);
    workload
        && query
            .container
            .as_ref()
            .is_none_or(|wanted| *wanted == source.container)
}

#[async_trait]
impl Logs for KubernetesLogs {
    async fn logs(&self, scope: &Scope, query: LogQuery) -> Result<Lines, CallError> {
        let sources = self.sources(scope, &query).await?;
        let place = self.shape.kube_namespace(&scope.namespace).to_string();
        let (sender, receiver) = mpsc::channel(256);
        let mut written = Vec::new();
        let mut followed = Vec::new();
        for source in sources {
            let text = self.cluster.last_lines(&place, &request(&source, &query)).await?;
            // A pod that has gone since it was listed has no lines any more, and those of the others are told.
            let Some(text) = text else { continue };
            let lines: Vec<LogLine> = text.lines().map(|line| line_of(&source, line)).collect();
            followed.push(Followed::behind(source, &lines, query.since));
            written.extend(lines);
        }
        written.retain(|line| query.since.is_none_or(|since| line.time >= since));
        written.sort_by_key(|line| line.time);
        let skipped = query.tail.map_or(0, |tail| written.len().saturating_sub(tail));
        let written = written.split_off(skipped);
        let cluster = self.cluster.clone();
        tokio::spawn(async move {
            for line in written {
                if sender.send(Ok(line)).await.is_err() {
                    return;
                }
            }
            if query.follow {
                follow_all(&cluster, &place, followed, &sender).await;
            }
        });
        Ok(receiver)
    }
}

/// More than a kubelet keeps of one container.
const ALL_LINES: usize = 1_000_000;

fn request<'a>(source: &'a Source, query: &LogQuery) -> LogRequest<'a> {
    LogRequest {
        pod: &source.pod,
        container: &source.container,
        previous: false,
        // Of none nobody knows where to go on from.
        lines: query.tail.unwrap_or(ALL_LINES).max(1),
        timestamps: true,
        since: query.since,
    }
}

/// A source, and where its own lines go on: others may have written later, and be told already.
#[derive(Debug, PartialEq, Eq)]
struct Followed {
    source: Source,
    /// Of its last line so far.
    told: Option<SystemTime>,
    /// What was asked for.
    since: Option<SystemTime>,
}

impl Followed {
    fn behind(source: Source, lines: &[LogLine], since: Option<SystemTime>) -> Self {
        let told = lines.last().map(|line| line.time);
        Self { source, told, since }
    }

    fn is_new(&self, line: &LogLine) -> bool {
        let later = self.told.is_none_or(|told| line.time > told);
        later && self.since.is_none_or(|since| line.time >= since)
    }
}

async fn follow_all(
    cluster: &KubeCluster,
    place: &str,
    sources: Vec<Followed>,
    to: &mpsc::Sender<Result<LogLine, CallError>>,
) {
    let each = sources.iter().map(|source| follow(cluster, place, source, to));
    tokio::select! {
        told = futures_util::future::try_join_all(each) => if let Err(failure) = told {
            _ = to.send(Err(failure)).await;
        },
        () = to.closed() => {}
    }
}

/// From what was told last: a kubelet begins with a whole second, so what comes twice is left out.
async fn follow(
    cluster: &KubeCluster,
    place: &str,
    followed: &Followed,
    to: &mpsc::Sender<Result<LogLine, CallError>>,
) -> Result<(), CallError> {
    let source = &followed.source;
    let request = LogRequest {
        pod: &source.pod,
        container: &source.container,
        previous: false,
        lines: ALL_LINES,
        timestamps: true,
        since: followed.told.or(followed.since),
    };
    let Some(stream) = cluster.follow(place, &request).await? else {
        return Ok(());
    };
    let mut lines = stream.lines();
    while let Some(text) = lines.next().await {
        let text = text.map_err(|failure| error::lost(&failure.to_string()))?;
        let line = line_of(source, &text);
        if followed.is_new(&line) && to.send(Ok(line)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// `2026-01-02T03:04:05.123456789Z what it wrote`
fn line_of(source: &Source, line: &str) -> LogLine {
    let (stamp, text) = line.split_once(' ').unwrap_or((line, ""));
    let (time, text) = match time_of(stamp) {
        Some(time) => (time, text),
        None => (SystemTime::UNIX_EPOCH, line),
    };
    LogLine {
        workload: source.workload.clone(),
        replica: source.pod.clone(),
        container: source.container.clone(),
        time,
        stderr: false,
        text: text.to_string(),
    }
}

fn time_of(stamp: &str) -> Option<SystemTime> {
    let time: MicroTime = serde_json::from_value(stamp.into()).ok()?;
    let nanos = u64::try_from(time.0.as_nanosecond()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source(workload: &str, container: &str) -> Source {
        Source {
            workload: workload.into(),
            pod: format!("{workload}-1"),
            container: container.into(),
        }
    }

    #[test]
    fn a_line_is_its_time_and_its_text() {
        for (reason, line, nanos, text) in [
            (
                "as a kubelet writes it",
                "1970-01-01T00:00:01.000000002Z a b",
                1_000_000_002,
                "a b",
            ),
            ("an empty one", "1970-01-01T00:00:01Z ", 1_000_000_000, ""),
            (
                "what has no time is told as it is",
                "unable to retrieve",
                0,
                "unable to retrieve",
            ),
        ] {
            let told = line_of(&source("web", "web"), line);
            let time = told.time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!((time.as_nanos(), told.text.as_str()), (nanos, text), "{reason}");
        }
    }

    #[test]
    fn containers_that_have_begun_have_lines() {
        let pod = json!({
            "metadata": { "name": "web-1", "labels": { label::NAME: "web" } },
            "status": { "containerStatuses": [
                { "name": "web", "state": { "running": {} } },
                { "name": "crashed", "state": { "waiting": {} }, "lastState": { "terminated": {} } },
                { "name": "pulling", "state": { "waiting": {} } },
            ]},
        });
        assert_eq!(sources_of(&pod), [source("web", "web"), source("web", "crashed")]);
    }

    #[test]
    fn each_container_goes_on_from_its_own_last_line() {
        let web = source("web", "web");
        let line = |second: u64| line_of(&web, &format!("1970-01-01T00:00:0{second}.5Z text"));
        let second = |second: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
        for (reason, lines, since, new, expected) in [
            ("it had written nothing", vec![], None, 1, true),
            ("after its last", vec![line(2), line(4)], None, 5, true),
            ("its last again", vec![line(2), line(4)], None, 4, false),
            ("before what was asked for", vec![], second(5), 4, false),
            ("in that very second", vec![], second(5), 5, true),
        ] {
            let followed = Followed::behind(web.clone(), &lines, since);
            assert_eq!(followed.is_new(&line(new)), expected, "{reason}");
        }
    }

    #[test]
    fn who_is_asked_for_is_told() {
        let query = |workloads: &[&str], container: Option<&str>| LogQuery {
            workloads: workloads.iter().map(ToString::to_string).collect(),
            container: container.map(String::from),
            ..LogQuery::default()
        };
        for (reason, query, expected) in [
            ("all", query(&[], None), true),
            ("the service", query(&["web"], None), true),
            ("another service", query(&["db"], None), false),
            ("another container", query(&["web"], Some("proxy")), false),
        ] {
            assert_eq!(is_wanted(&source("web", "web"), &query), expected, "{reason}");
        }
    }
}
