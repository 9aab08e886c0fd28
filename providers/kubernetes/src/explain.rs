//! This platform's failures -> their cause in one line, and what to do about it. Pure.
//!
//! Controllers tell that something does not get ready; why stands in the pods. What a kubelet or the scheduler says there
//! is either hopeless for this revision, and then its failure, or a reason to wait, and then told beside the count.

use portolan_core::observation::Failure;
use portolan_provider_api::hints;
use serde_json::Value;

use crate::names::{annotation, label};
use crate::read::{is_deleting, items, text};

pub mod events;
pub mod stored;

/// The pods of one workload, those of the revision that it wants apart.
pub struct Pods<'a> {
    all: Vec<&'a Value>,
    wanted: Vec<&'a Value>,
    others_end: bool,
}

/// Which container's last lines say more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub pod: String,
    pub container: String,
    /// Of the try before, because a new one is on its way.
    pub previous: bool,
}

/// A failure, and where more of it is found.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    pub failure: Failure,
    pub log: Option<Log>,
}

impl<'a> Pods<'a> {
    /// Those of `workload` among the app's.
    pub fn of(pods: &'a [Value], workload: &'a Value) -> Self {
        let tag = |object: &'a Value, key: &str| object["metadata"]["labels"].get(key);
        let template = &workload["spec"]["template"]["metadata"]["labels"];
        let has = |pod: &'a Value, key: &str| tag(pod, key).is_some() && tag(pod, key) == template.get(key);
        let retry = |object: &'a Value| object["annotations"].get(annotation::RETRIED);
        let template_is = retry(&workload["spec"]["template"]["metadata"]);
        let all: Vec<&Value> = pods.iter().filter(|pod| has(pod, label::INSTANCE)).collect();
        let wanted = all.iter().copied();
        let wanted = wanted.filter(|pod| has(pod, label::REVISION) && retry(&pod["metadata"]) == template_is);
        let wanted = wanted.filter(|pod| !is_deleting(pod));
        Self {
            wanted: wanted.collect(),
            all,
            others_end: pods.iter().any(is_deleting),
        }
    }

    pub fn restarts(&self) -> u32 {
        let containers = self.all.iter().flat_map(|pod| containers(pod));
        containers.map(|one| crate::read::number(one, "/restartCount")).sum()
    }

    /// What no waiting mends, of the revision that is wanted.
    pub fn trouble(&self) -> Option<Trouble> {
        self.wanted.iter().find_map(|pod| trouble_of(pod))
    }

    /// Why the revision that is wanted is not ready yet, in one line.
    pub fn waits(&self) -> Option<String> {
        self.wanted.iter().find_map(|pod| wait_of(pod))
    }

    /// Whether a pod of the app is on its way out, which may make room for another.
    pub fn others_end(&self) -> bool {
        self.others_end
    }

    /// Since when the pod that became unready last is so.
    pub fn unready_since(&self) -> Option<&'a str> {
        self.wanted.iter().filter_map(|pod| unready_since(pod)).max()
    }

    /// Since when all of them that are ready are so.
    pub fn ready_since(&self) -> Option<&'a str> {
        let ready = self.wanted.iter().filter(|pod| is_ready(pod));
        ready
            .filter_map(|pod| text(readiness(pod)?, "/lastTransitionTime"))
            .max()
    }

    fn last_failed(&self) -> Option<&'a Value> {
        let failed = self
            .wanted
            .iter()
            .filter(|pod| text(pod, "/status/phase") == Some("Failed"));
        failed
            .max_by_key(|pod| text(pod, "/metadata/creationTimestamp"))
            .copied()
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    items(pod, "/status/initContainerStatuses").chain(items(pod, "/status/containerStatuses"))
}

fn readiness(pod: &Value) -> Option<&Value> {
    let mut conditions = items(pod, "/status/conditions");
    conditions.find(|one| text(one, "/type") == Some("Ready"))
}

pub fn is_ready(pod: &Value) -> bool {
    readiness(pod).is_some_and(|ready| text(ready, "/status") == Some("True"))
}

/// One that was ready for days has its whole deadline again; one that no kubelet has seen waits since it was made.
fn unready_since(pod: &Value) -> Option<&str> {
    match readiness(pod) {
        _ if is_ready(pod) => None,
        Some(unready) => text(unready, "/lastTransitionTime"),
        None => text(pod, "/metadata/creationTimestamp"),
    }
}

/// What a kubelet says of a container that waits where waiting does not mend it, and what we call it.
const HOPELESS: &[(&str, &str)] = &[
    ("CrashLoopBackOff", "CrashLoopBackOff"),
    ("ImagePullBackOff", "ImagePullFailed"),
    ("ErrImageNeverPull", "ImageNotFound"),
    ("InvalidImageName", "ImageReferenceInvalid"),
    ("CreateContainerConfigError", "ConfigurationMissing"),
    ("CreateContainerError", "StartFailed"),
    ("RunContainerError", "StartFailed"),
    ("StartError", "StartFailed"),
];

fn trouble_of(pod: &Value) -> Option<Trouble> {
    containers(pod).find_map(|container| {
        Some(match hopeless(container)? {
            "CrashLoopBackOff" => crash(pod, container),
            code => Trouble {
                failure: Failure {
                    evidence: words_of_pull(container, code),
                    ..hinted(Failure::new(code, waiting(container)))
                },
                log: None,
            },
        })
    })
}

/// Where nobody knows what they mean, all of a kubelet's words are told.
fn words_of_pull(container: &Value, code: &str) -> Vec<String> {
    let words = text(container, "/state/waiting/message").filter(|_| code == "ImagePullFailed");
    words.into_iter().map(one_line).collect()
}

/// A registry that is slow or away may answer the next time; one that has no such image has said so.
fn hopeless(container: &Value) -> Option<&'static str> {
    let reason = text(container, "/state/waiting/reason")?;
    let known = HOPELESS.iter().find(|(known, _)| *known == reason);
    match (known, pull_failure(container)) {
        (Some((_, "ImagePullFailed")), Some(code)) => Some(code),
        (Some((_, code)), _) => Some(code),
        (None, Some("ImageNotFound")) if reason == "ErrImagePull" => Some("ImageNotFound"),
        _ => None,
    }
}

/// Words of registries and of those who ask them, and what they mean.
const PULL_FAILURES: &[(&[&str], &str)] = &[
    (&["not found", "manifest unknown", "name unknown"], "ImageNotFound"),
    (&["unauthorized", "denied", "forbidden"], "RegistryDenied"),
    (
        &["connection refused", "no such host", "timeout", "failed to do request"],
        "RegistryUnreachable",
    ),
];

fn pull_failure(container: &Value) -> Option<&'static str> {
    let message = cause_of_pull(container).to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let found = PULL_FAILURES.iter().find(|(words, _)| says(words));
    found.map(|(_, code)| *code)
}

fn waiting(container: &Value) -> String {
    let name = text(container, "/name").unwrap_or_default();
    let image = text(container, "/image").unwrap_or_default();
    let reason = text(container, "/state/waiting/reason").unwrap_or_default();
    let message = text(container, "/state/waiting/message").unwrap_or(reason);
    match reason.contains("Image") {
        true => format!(
            "container `{name}`: cannot have the image {image}: {}",
            cause_of_pull(container)
        ),
        false => format!("container `{name}`: {}", one_line(message)),
    }
}

/// What each of them was doing names the image anew: `Back-off pulling image "A": ErrImagePull: failed to resolve reference
/// "A": A: not found`. The cause comes last.
fn cause_of_pull(container: &Value) -> String {
    let image = text(container, "/image").unwrap_or_default();
    let reason = text(container, "/state/waiting/reason").unwrap_or_default();
    let message = one_line(text(container, "/state/waiting/message").unwrap_or(reason));
    let again = [format!("\"{image}\": "), format!("{image}: ")];
    let last = again
        .iter()
        .filter_map(|text| Some(message.rfind(text)? + text.len()))
        .max();
    message[last.unwrap_or(0)..].to_string()
}

fn crash(pod: &Value, container: &Value) -> Trouble {
    let name = text(container, "/name").unwrap_or_default();
    let last = &container["lastState"]["terminated"];
    let memory = text(last, "/reason") == Some("OOMKilled");
    let reason = if memory { "OomKilled" } else { "CrashLoopBackOff" };
    let mut failure = Failure::new(reason, format!("container `{name}` {}, again and again", ended(last)));
    failure.evidence.extend(text(last, "/message").map(String::from));
    Trouble {
        failure: hinted(failure),
        log: log_of(pod, name, true),
    }
}

fn ended(terminated: &Value) -> String {
    let signal = terminated
        .get("signal")
        .and_then(Value::as_i64)
        .filter(|signal| *signal != 0);
    let code = terminated.get("exitCode").and_then(Value::as_i64);
    match (text(terminated, "/reason"), signal, code) {
        (Some("OOMKilled"), ..) => "was killed for using more memory than its limit".to_string(),
        (_, Some(signal), _) => format!("was ended by signal {signal}"),
        (_, None, Some(code)) => format!("ended with exit code {code}"),
        _ => "ended".to_string(),
    }
}

fn log_of(pod: &Value, container: &str, previous: bool) -> Option<Log> {
    let pod = text(pod, "/metadata/name")?.to_string();
    let container = container.to_string();
    Some(Log {
        pod,
        container,
        previous,
    })
}

fn wait_of(pod: &Value) -> Option<String> {
    let mut conditions = items(pod, "/status/conditions");
    let unscheduled = conditions.find(|one| text(one, "/reason") == Some("Unschedulable"));
    if let Some(one) = unscheduled {
        return Some(format!(
            "no node takes the pod: {}",
            one_line(text(one, "/message").unwrap_or_default())
        ));
    }
    let patient = |one: &&Value| matches!(text(one, "/state/waiting/reason"), Some("ErrImagePull" | stored::COMES));
    if let Some(one) = containers(pod).find(patient) {
        return Some(waiting(one));
    }
    let unready = |one: &&Value| one.get("ready") == Some(&Value::Bool(false)) && one["state"].get("running").is_some();
    let one = items(pod, "/status/containerStatuses").find(unready)?;
    let name = text(one, "/name")?;
    let probe = probe(pod, one).unwrap_or_else(|| "probe".to_string());
    Some(format!("container `{name}` runs and its {probe} does not succeed"))
}

/// What it is asked: `readiness probe GET /ready`. Until it has started it is asked the other one.
fn probe(pod: &Value, status: &Value) -> Option<String> {
    let started = status.get("started") != Some(&Value::Bool(false));
    let (field, word) = match started {
        true => ("readinessProbe", "readiness probe"),
        false => ("startupProbe", "startup probe"),
    };
    let container = items(pod, "/spec/containers").find(|one| one["name"] == status["name"])?;
    let probe = container.get(field)?;
    let port = |kind: &str| probe.pointer(&format!("/{kind}/port")).map(Value::to_string);
    let asked = match (text(probe, "/httpGet/path"), port("tcpSocket")) {
        (Some(path), _) => format!("GET {path}"),
        (None, Some(port)) => format!("of port {port}"),
        (None, None) => {
            let words: Vec<&str> = items(probe, "/exec/command").filter_map(Value::as_str).collect();
            format!("`{}`", words.join(" "))
        }
    };
    Some(format!("{word} {asked}"))
}

/// A pod that the API server did not take: a quota, or a policy.
pub fn refused_pod(condition: &Value) -> Failure {
    let message = one_line(text(condition, "/message").unwrap_or("a pod is refused"));
    let code = match message.contains("exceeded quota") {
        true => "QuotaExceeded",
        false => "PodRefused",
    };
    hinted(Failure::new(code, message))
}

/// A route that its gateway does not take, or whose service it does not find.
pub fn refused_route(condition: &Value) -> Failure {
    hinted(Failure::new("RouteRefused", said(condition)))
}

/// Something to scale by that KEDA cannot ask.
pub fn refused_scaling(condition: &Value) -> Failure {
    hinted(Failure::new("ScalingFailed", said(condition)))
}

/// A condition in its own words: what it is called, and what is said of it.
fn said(condition: &Value) -> String {
    let reason = text(condition, "/reason").unwrap_or("it is not said why");
    match text(condition, "/message")
        .map(one_line)
        .filter(|message| !message.is_empty())
    {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_string(),
    }
}

/// Nothing is hopeless, and it is not ready in time.
pub fn too_late(pods: &Pods<'_>, told: Option<&str>) -> Failure {
    let waits = pods.waits();
    let code = match &waits {
        Some(why) if why.starts_with("no node") => "Unschedulable",
        Some(why) if why.ends_with("does not succeed") => "ProbeFailed",
        _ => "ProgressDeadlineExceeded",
    };
    let message = waits.as_deref().or(told).unwrap_or("no further replica gets ready");
    hinted(Failure::new(code, format!("not ready within its deadline: {message}")))
}

/// A job that has given up, by its last pod.
pub fn failed_job(condition: &Value, pods: &Pods<'_>) -> (Failure, Option<Log>) {
    if text(condition, "/reason") == Some("DeadlineExceeded") {
        return (
            hinted(Failure::new("Timeout", "it took longer than its `timeout`")),
            None,
        );
    }
    let pod = pods.last_failed();
    let is_over = |one: &&Value| one["state"].get("terminated").is_some();
    let container = pod.and_then(|pod| containers(pod).filter(is_over).last());
    match (pod, container) {
        (Some(pod), Some(container)) => {
            let name = text(container, "/name").unwrap_or_default();
            let last = &container["state"]["terminated"];
            let failure = Failure::new("JobFailed", format!("container `{name}` {}", ended(last)));
            (hinted(failure), log_of(pod, name, false))
        }
        _ => {
            let message = one_line(text(condition, "/message").unwrap_or("its pods failed"));
            (hinted(Failure::new("JobFailed", message)), None)
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub fn hinted(failure: Failure) -> Failure {
    Failure {
        hint: hint(&failure.reason).map(String::from),
        ..failure
    }
}

/// The hint for a reason; the message beside it says what happened.
pub fn hint(reason: &str) -> Option<&'static str> {
    let ours = HINTS.iter().find(|(known, _)| *known == reason);
    ours.map(|(_, hint)| *hint).or_else(|| hints::hint(reason))
}

const HINTS: &[(&str, &str)] = &[
    (
        "ImageNotFound",
        "look whether the image is in its registry, and whether the cluster's nodes may pull it",
    ),
    (
        "ImagePullFailed",
        "the kubelet's own words are above; the cluster's nodes pull it, not this machine",
    ),
    (
        "RegistryDenied",
        "the cluster's nodes pull it, not this machine: its kubelets want credentials for the registry",
    ),
    (
        "RegistryUnreachable",
        "the cluster's nodes pull it, not this machine: look whether they reach the registry",
    ),
    ("ImageReferenceInvalid", "mend `image` in the manifest"),
    (
        "ConfigurationMissing",
        "create the secret that is named, with that key, in the app's KubeNamespace",
    ),
    (
        "QuotaExceeded",
        "ask for less in `resources` and `scale`, or have the namespace's ResourceQuota raised",
    ),
    (
        "PodRefused",
        "a policy of the cluster does not take such a pod; the message names it",
    ),
    (
        "RouteRefused",
        "look at the Gateway that the Target names: whether a listener of it takes this domain and this namespace",
    ),
    (
        "ScalingFailed",
        "look whether KEDA reaches the queue by the binding's values, and whether the queue has that name",
    ),
    (
        "Unschedulable",
        "the message says what each node lacks: ask for less in `resources`, or add a node",
    ),
    (
        "ProbeFailed",
        "look at the probe and at `portolan logs SERVICE`; rollout.deadline is the limit",
    ),
    (
        "VolumeLost",
        "restore the volume from a backup, or delete the claim with its data",
    ),
];

#[cfg(test)]
mod tests;
