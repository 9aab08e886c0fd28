//! Failures of the API server and of the way to it, as the engine's: by class, with a code and a hint.

use std::time::Duration;

use kube::Error;
use kube::core::Status;
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{CallError, ErrorClass};

use crate::kinds::Kind;

/// Code of what is not there.
pub const NOT_FOUND: &str = "NotFound";

/// A request that failed, answered or not.
pub fn client(failure: Error) -> CallError {
    match failure {
        Error::Api(status) => answered(&status),
        Error::SerdeError(source) => bug(format!("the API server's answer is not understood: {source}")),
        Error::BuildRequest(source) => bug(format!("a request cannot be made: {source}")),
        Error::Auth(source) => denied("LoginFailed", format!("cannot log in to the cluster: {source}")),
        other => lost(&chain(&other)),
    }
}

/// All that was asked for together, or the worst of its failures.
pub fn all<T>(answers: Vec<Result<T, CallError>>) -> Result<Vec<T>, CallError> {
    let (mut all, mut worst) = (Vec::new(), None);
    for answer in answers {
        match (answer, worst.take()) {
            (Ok(answer), None) => all.push(answer),
            (Ok(_), Some(failure)) | (Err(failure), None) => worst = Some(failure),
            (Err(failure), Some(other)) => worst = Some(worse(failure, other)),
        }
    }
    worst.map_or(Ok(all), Err)
}

/// The one that does not pass, or wants the longer pause: so nobody is asked again sooner than he has said.
pub fn worse(one: CallError, other: CallError) -> CallError {
    let weight = |failure: &CallError| match failure.class {
        ErrorClass::Retry { after } => (false, after.unwrap_or_default()),
        _ => (true, Duration::ZERO),
    };
    match weight(&one) >= weight(&other) {
        true => one,
        false => other,
    }
}

/// The connection ended, or never came about: what was asked may have been done.
pub fn lost(what: &str) -> CallError {
    CallError::new(
        ErrorClass::Retry { after: None },
        "ClusterUnreachable",
        format!("no answer from the API server: {what}"),
    )
    .with_hint("look whether the cluster is up, and whether the Target's context leads to it")
}

/// The kubeconfig, or what it leads to.
pub fn kubeconfig(what: &dyn std::error::Error) -> CallError {
    CallError::new(ErrorClass::Invalid, "KubeconfigInvalid", format!("cannot find the cluster: {}", chain(what)))
        .with_hint("the Target's `kubernetes: {context, kubeconfig}` say where it is; `kubectl config get-contexts` shows which there are")
}

fn answered(status: &Status) -> CallError {
    let (class, code) = class_of(status);
    let error = CallError::new(class, code, told(status));
    match hint(code) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn class_of(status: &Status) -> (ErrorClass, &'static str) {
    let message = &status.message;
    match (status.code, status.reason.as_str()) {
        (401, _) => (ErrorClass::Denied, "Unauthorized"),
        (403, _) if message.contains("exceeded quota") => (ErrorClass::Quota, "QuotaExceeded"),
        (403, _) if message.contains("being terminated") => (ErrorClass::Conflict, "NamespaceTerminating"),
        (403, _) => (ErrorClass::Denied, "Forbidden"),
        (404, _) if message.starts_with("namespaces ") => (ErrorClass::Invalid, "NamespaceMissing"),
        (404, _) => (ErrorClass::Conflict, NOT_FOUND),
        (409, _) => (ErrorClass::Conflict, "Conflict"),
        // What a list goes on from is forgotten after some minutes: it begins anew.
        (410, _) => (retry(status), "Expired"),
        (408 | 429 | 503 | 504, _) => (retry(status), "Throttled"),
        (413, _) => (ErrorClass::Invalid, "TooLarge"),
        (400 | 405 | 406 | 415 | 422, _) => (ErrorClass::Invalid, "Refused"),
        // Nobody knows whether it was done.
        (500..=599, _) => (retry(status), "ServerFailed"),
        _ => (ErrorClass::Bug, "Bug"),
    }
}

fn retry(status: &Status) -> ErrorClass {
    let after = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    ErrorClass::Retry {
        after: (after > 0).then(|| Duration::from_secs(after.into())),
    }
}

/// Its own words, on one line.
fn told(status: &Status) -> String {
    let words: Vec<&str> = status.message.split_whitespace().collect();
    match words.is_empty() {
        true => format!("the API server answered {} {}", status.code, status.reason),
        false => format!("the API server said: {}", words.join(" ")),
    }
}

fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "Unauthorized" => "log in to the cluster anew",
        "Forbidden" => "have the role of this user widened; the message names what is lacking",
        "QuotaExceeded" => "ask for less, or have the namespace's ResourceQuota raised",
        "NamespaceMissing" => "create it, or name another one in the Target: `kubernetes: {namespace: ...}`",
        "NamespaceTerminating" => "wait until it is gone, and create it again",
        "TooLarge" => "make `files` smaller: an object holds about 1 MiB",
        _ => return None,
    })
}

/// Which fields others hold, as server-side apply tells it: the manager of each.
pub fn managers(status: &Status) -> Vec<String> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let conflicts = causes.filter(|cause| cause.reason == "FieldManagerConflict");
    conflicts
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect()
}

/// Fields that somebody else has written last.
pub fn held_by_others(id: &ResourceId, managers: Vec<String>) -> CallError {
    let message = format!("{id} has fields that others hold: {}", managers.join("; "));
    CallError::new(ErrorClass::Conflict, "FieldsHeld", message)
        .about(id)
        .with_hint("let them go there, or make them ours with --take-over")
        .with_evidence(managers)
}

/// Nobody has installed what it is a kind of.
pub fn kind_missing(kind: &Kind) -> CallError {
    let message = format!("the cluster has no {} of {}", kind.name, kind.api_version());
    CallError::new(ErrorClass::Invalid, "KindMissing", message)
        .with_hint("install what brings it into the cluster, or leave out what the manifest needs it for")
}

/// The Gateway that the Target names.
pub fn gateway_missing(id: &ResourceId, name: &str, kube_namespace: &str) -> CallError {
    let message = format!("{kube_namespace} has no Gateway {name} for the domains of the app");
    CallError::new(ErrorClass::Invalid, "GatewayMissing", message)
        .about(id)
        .with_hint("create it, or name another one in the Target: `kubernetes: {gateway: {name, namespace}}`")
}

/// The class by which a CSI driver brings secrets; or there is no such driver.
pub fn secret_class_missing(id: &ResourceId, name: &str, kube_namespace: &str) -> CallError {
    let message =
        format!("{kube_namespace} has no SecretProviderClass {name}, by which {id} would come to its secrets");
    CallError::new(ErrorClass::Invalid, "SecretClassMissing", message)
        .about(id)
        .with_hint(
            "install the Secrets Store CSI driver and create it, or leave out `secretProviderClass` in the Target",
        )
}

/// Ours: what cannot happen unless this crate is wrong.
pub fn bug(message: String) -> CallError {
    CallError::new(ErrorClass::Bug, "Bug", message)
}

fn denied(code: &str, message: String) -> CallError {
    CallError::new(ErrorClass::Denied, code, message).with_hint("log in to the cluster anew")
}

/// Somebody else's, under a name of ours.
pub fn not_ours(id: &ResourceId) -> CallError {
    CallError::new(ErrorClass::Conflict, "Conflict", format!("{id} is not ours"))
        .about(id)
        .with_hint("remove it, choose another name, or make it ours with --take-over")
}

/// Written to since it was looked at.
pub fn written_since(id: &ResourceId) -> CallError {
    let message = format!("{id} has been written to since it was looked at");
    CallError::new(ErrorClass::Conflict, "Conflict", message).about(id)
}

/// Gone since it was looked at.
pub fn gone_since(id: &ResourceId) -> CallError {
    CallError::new(ErrorClass::Conflict, "NotFound", format!("{id} is not there any more")).about(id)
}

/// A moment later it is something else, and what was seen of it says nothing any more: it is looked at again.
pub fn moved(id: &ResourceId) -> CallError {
    let message = format!("{id} has just been changed by its controller");
    CallError::new(ErrorClass::Retry { after: None }, "Moved", message).about(id)
}

/// There is none that could run again.
pub fn job_not_there(id: &ResourceId) -> CallError {
    CallError::new(ErrorClass::Invalid, "NotRunning", format!("{id} is not there"))
        .about(id)
        .with_hint("`portolan apply` makes it, and it runs then")
}

/// One run of it is not over.
pub fn job_runs(id: &ResourceId) -> CallError {
    CallError::new(ErrorClass::Invalid, "JobRuns", format!("{id} runs already"))
        .about(id)
        .with_hint("wait for its end: `portolan logs JOB --follow`")
}

/// Its name is free once it has gone.
pub fn still_going(id: &ResourceId) -> CallError {
    let after = Some(Duration::from_secs(1));
    CallError::new(
        ErrorClass::Retry { after },
        "StillGoing",
        format!("{id} is still being deleted"),
    )
    .about(id)
}

/// It passes: whoever wants another revision waits, within the patience that a moving object is given.
pub fn still_rolling(id: &ResourceId) -> CallError {
    let message =
        format!("{id} still takes the revision before, and what stands beside it serves in its place meanwhile");
    CallError::new(ErrorClass::Conflict, "Conflict", message).about(id)
}

/// A secret that a variable is taken from.
pub fn secret_missing(id: &ResourceId, secret: &str, kube_namespace: &str) -> CallError {
    let message =
        format!("{id} takes a variable from the secret `{secret}`, which is not in the namespace {kube_namespace}");
    CallError::new(ErrorClass::Invalid, "SecretMissing", message)
        .about(id)
        .with_hint(format!(
            "create it: `kubectl -n {kube_namespace} create secret generic {secret} --from-literal KEY=VALUE`"
        ))
}

pub fn namespace_missing(kube_namespace: &str) -> CallError {
    let message = format!("the cluster has no namespace {kube_namespace}");
    let hint = format!("create it: `kubectl create namespace {kube_namespace}`; or name another one in the Target");
    CallError::new(ErrorClass::Invalid, "NamespaceMissing", message).with_hint(hint)
}

pub fn no_deployment(name: &str, kube_namespace: &str) -> CallError {
    let message = format!("the namespace `{kube_namespace}` has no Deployment `{name}`");
    CallError::new(ErrorClass::Invalid, "NotRunning", message)
        .with_hint("`kubectl get deployments` lists them; --namespace names another namespace")
}

pub fn nothing_to_import(kube_namespace: &str) -> CallError {
    let message = format!("the namespace `{kube_namespace}` has no Deployment that somebody else has made");
    CallError::new(ErrorClass::Invalid, "NotRunning", message)
        .with_hint("--namespace names another namespace; one of Portolan's own is taken where it is named")
}

pub fn unknown_workload(scope: &Scope, name: &str) -> CallError {
    let message = format!(
        "{}/{} has no service or job `{name}` with pods",
        scope.namespace, scope.app
    );
    CallError::new(ErrorClass::Invalid, "NotRunning", message).with_hint("`portolan status` shows which there are")
}

/// A pod by that name is none of the service.
pub fn unknown_replica(service: &str, replica: &str, there: &[&str]) -> CallError {
    let message = format!("`{service}` has no replica `{replica}`");
    CallError::new(ErrorClass::Invalid, "NotRunning", message).with_hint(there_are(there))
}

pub fn unknown_container(pod: &str, container: &str, there: &[&str]) -> CallError {
    let message = format!("{pod} has no container `{container}`");
    CallError::new(ErrorClass::Invalid, "NotRunning", message).with_hint(there_are(there))
}

fn there_are(names: &[&str]) -> String {
    match names.len() {
        1 => format!("there is {}", names[0]),
        _ => format!("there are {}", names.join(", ")),
    }
}

pub fn none_ready(service: &str) -> CallError {
    CallError::new(
        ErrorClass::Invalid,
        "NotReady",
        format!("no replica of `{service}` is ready"),
    )
    .with_hint("`portolan status` says why; `--replica` names one that is not ready")
}

/// A command that the container's runtime could not start.
pub fn not_started(command: &str, container: &str, words: &str) -> CallError {
    let words: Vec<&str> = words.split_whitespace().collect();
    let message = format!(
        "cannot start `{command}` in container `{container}`: {}",
        words.join(" ")
    );
    CallError::new(ErrorClass::Invalid, "StartFailed", message)
        .with_hint("name a program of the container's image; a shell is one only if the image has it")
}

/// What a kubelet says where nothing listens in the pod, or stops to.
pub fn port_refused(pod: &str, port: u16, words: &str) -> CallError {
    let words: Vec<&str> = words.split_whitespace().collect();
    let message = format!("port {port} of {pod} takes no connection: {}", words.join(" "));
    CallError::new(ErrorClass::Invalid, "PortClosed", message)
        .with_hint("name a port on which the service listens; the manifest's `ports` say which")
}

/// The connection ended before the command told how it did.
pub fn exec_lost(why: Option<&dyn std::error::Error>) -> CallError {
    let why = why.map_or_else(|| "it closed the connection".to_string(), chain);
    let message = format!("the API server went away before the command ended: {why}");
    CallError::new(ErrorClass::Retry { after: None }, "ExecLost", message)
        .with_hint("look with `portolan status`, then try again")
}

fn chain(failure: &dyn std::error::Error) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(code: u16, reason: &str, message: &str) -> CallError {
        let status = json!({"status": "Failure", "code": code, "reason": reason, "message": message,
            "details": {"retryAfterSeconds": 3}});
        client(Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[test]
    fn of_several_failures_the_worst_is_told() {
        let passing = |seconds: Option<u64>| {
            let after = seconds.map(Duration::from_secs);
            CallError::new(ErrorClass::Retry { after }, format!("{seconds:?}"), "")
        };
        let code = |answers: Vec<Result<u8, CallError>>| all(answers).map_err(|failure| failure.code);
        assert_eq!(code(vec![Ok(1), Ok(2)]), Ok(vec![1, 2]));
        let answers = vec![
            Ok(1),
            Err(passing(None)),
            Err(passing(Some(3))),
            Err(passing(Some(2))),
            Ok(2),
        ];
        assert_eq!(code(answers), Err("Some(3)".into()), "the longest pause");
        let answers = vec![Err(passing(Some(3))), Err(bug("no".into())), Err(passing(None))];
        assert_eq!(code(answers), Err("Bug".into()), "what does not pass");
    }

    #[test]
    fn each_answer_is_told_as_what_it_is() {
        let after = Some(Duration::from_secs(3));
        for (reason, code, word, message, class) in [
            (
                "asked too much",
                429,
                "TooManyRequests",
                "too many",
                ErrorClass::Retry { after },
            ),
            (
                "outcome unknown",
                500,
                "InternalError",
                "etcd",
                ErrorClass::Retry { after },
            ),
            (
                "a list that has expired",
                410,
                "Expired",
                "old",
                ErrorClass::Retry { after },
            ),
            ("another writer", 409, "Conflict", "modified", ErrorClass::Conflict),
            ("no credentials", 401, "Unauthorized", "", ErrorClass::Denied),
            ("no right", 403, "Forbidden", "cannot create", ErrorClass::Denied),
            ("no room", 403, "Forbidden", "exceeded quota: q", ErrorClass::Quota),
            ("nonsense", 422, "Invalid", "spec.x", ErrorClass::Invalid),
            (
                "a field that is none",
                400,
                "BadRequest",
                "unknown field",
                ErrorClass::Invalid,
            ),
            (
                "no such namespace",
                404,
                "NotFound",
                "namespaces \"x\" not found",
                ErrorClass::Invalid,
            ),
        ] {
            let error = told(code, word, message);
            assert_eq!(error.class, class, "{reason}");
            assert!(!error.message.is_empty() && !error.message.contains('\n'), "{reason}");
        }
    }

    #[test]
    fn conflicts_are_named_with_their_owner() {
        let status = json!({"code": 409, "reason": "Conflict", "message": "Apply failed", "details": {"causes": [
            {"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": "conflict with \"kubectl\""},
        ]}});
        let status: Status = serde_json::from_value(status).unwrap();
        assert_eq!(managers(&status), [".spec.replicas: conflict with \"kubectl\""]);
    }
}
