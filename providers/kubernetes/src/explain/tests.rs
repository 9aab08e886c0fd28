//! What kubelets, the scheduler and controllers say, and what users are told.

use serde_json::{Value, json};

use super::*;

fn workload() -> Value {
    json!({ "spec": { "template": { "metadata": { "labels": labels("r2") } } } })
}

fn labels(revision: &str) -> Value {
    json!({ label::INSTANCE: "shop-web", label::REVISION: revision })
}

fn pod(revision: &str, status: Value) -> Value {
    json!({
        "metadata": { "name": "web-1", "labels": labels(revision), "creationTimestamp": "2026-01-01T00:00:00Z" },
        "status": status,
    })
}

fn waits(reason: &str, message: &str) -> Value {
    json!({ "containerStatuses": [{
        "name": "web", "image": "registry.example/shop:2",
        "state": { "waiting": { "reason": reason, "message": message } },
    }]})
}

fn crashed(terminated: Value) -> Value {
    json!({ "containerStatuses": [{
        "name": "web", "image": "registry.example/shop:2", "restartCount": 3,
        "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } },
        "lastState": { "terminated": terminated },
    }]})
}

#[test]
fn what_is_hopeless_is_told_in_one_line() {
    for (reason, status, code, message) in [
        (
            "no such image",
            waits("ImagePullBackOff", "Back-off pulling image: manifest\nunknown"),
            "ImageNotFound",
            "container `web`: cannot have the image registry.example/shop:2: Back-off pulling image: manifest unknown",
        ),
        (
            "no such image, which the registry has just said",
            waits(
                "ErrImagePull",
                "rpc error: code = NotFound desc = failed to resolve reference \"registry.example/shop:2\": \
                 registry.example/shop:2: not found",
            ),
            "ImageNotFound",
            "container `web`: cannot have the image registry.example/shop:2: not found",
        ),
        (
            "no answer, again and again",
            waits(
                "ImagePullBackOff",
                "Back-off pulling image \"registry.example/shop:2\": ErrImagePull: failed to resolve reference \
                 \"registry.example/shop:2\": failed to do request: Head \"https://registry.example/v2/\": EOF",
            ),
            "RegistryUnreachable",
            "container `web`: cannot have the image registry.example/shop:2: failed to do request: Head \
             \"https://registry.example/v2/\": EOF",
        ),
        (
            "nobody knows these words",
            waits(
                "ImagePullBackOff",
                "Back-off pulling image \"registry.example/shop:2\": ErrImagePull: no space left on device",
            ),
            "ImagePullFailed",
            "container `web`: cannot have the image registry.example/shop:2: ErrImagePull: no space left on device",
        ),
        (
            "no credentials",
            waits("ImagePullBackOff", "pull access denied"),
            "RegistryDenied",
            "container `web`: cannot have the image registry.example/shop:2: pull access denied",
        ),
        (
            "it ends by itself",
            crashed(json!({"exitCode": 3, "reason": "Error"})),
            "CrashLoopBackOff",
            "container `web` ended with exit code 3, again and again",
        ),
        (
            "by a signal",
            crashed(json!({"exitCode": 139, "signal": 11, "reason": "Error"})),
            "CrashLoopBackOff",
            "container `web` was ended by signal 11, again and again",
        ),
        (
            "too much memory",
            crashed(json!({"exitCode": 137, "reason": "OOMKilled"})),
            "OomKilled",
            "container `web` was killed for using more memory than its limit, again and again",
        ),
        (
            "a secret that is not there",
            waits("CreateContainerConfigError", "secret \"api\" not found"),
            "ConfigurationMissing",
            "container `web`: secret \"api\" not found",
        ),
        (
            "no such command",
            waits("RunContainerError", "exec: \"/none\": no such file"),
            "StartFailed",
            "container `web`: exec: \"/none\": no such file",
        ),
    ] {
        let (pods, workload) = ([pod("r2", status)], workload());
        let trouble = Pods::of(&pods, &workload).trouble().expect(reason);
        assert_eq!(
            (trouble.failure.reason.as_str(), trouble.failure.message.as_str()),
            (code, message),
            "{reason}"
        );
        assert!(trouble.failure.hint.is_some(), "{reason}: it says what to do");
        let untold = trouble.failure.evidence.is_empty();
        assert_eq!(
            !untold,
            code == "ImagePullFailed",
            "{reason}: unknown words are told as they are"
        );
        let crashes = code == "CrashLoopBackOff" || code == "OomKilled";
        assert_eq!(
            trouble.log.is_some(),
            crashes,
            "{reason}: a container that ran has last lines"
        );
    }
}

#[test]
fn what_may_pass_is_waited_for() {
    let unschedulable = json!({ "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient memory.",
    }]});
    let unready = json!({ "containerStatuses": [{ "name": "web", "ready": false, "state": { "running": {} } }] });
    for (reason, revision, status, expected) in [
        (
            "another node may come",
            "r2",
            unschedulable.clone(),
            Some("no node takes the pod: 0/3 nodes are available: 3 Insufficient memory."),
        ),
        (
            "the probe may yet succeed",
            "r2",
            unready,
            Some("container `web` runs and its probe does not succeed"),
        ),
        (
            "a registry that may be slow",
            "r2",
            waits("ContainerCreating", ""),
            None,
        ),
        (
            "nobody knows whether it is hopeless",
            "r2",
            waits("ErrImagePull", "no space left on device"),
            Some("container `web`: cannot have the image registry.example/shop:2: no space left on device"),
        ),
        (
            "the registry may answer the next time",
            "r2",
            waits("ErrImagePull", "dial tcp: connection refused"),
            Some("container `web`: cannot have the image registry.example/shop:2: dial tcp: connection refused"),
        ),
        ("the old revision is nobody's concern", "r1", unschedulable, None),
    ] {
        let (pods, workload) = ([pod(revision, status)], workload());
        let pods = Pods::of(&pods, &workload);
        assert_eq!(pods.trouble(), None, "{reason}");
        assert_eq!(pods.waits().as_deref(), expected, "{reason}");
    }
}

#[test]
fn a_probe_that_does_not_succeed_is_told_as_the_manifest_has_it() {
    let http = json!({ "httpGet": { "path": "/ready", "port": 8080 } });
    for (reason, started, probes, expected) in [
        (
            "it serves not yet",
            true,
            json!({ "readinessProbe": http }),
            "readiness probe GET /ready",
        ),
        (
            "it has not started",
            false,
            json!({ "startupProbe": http }),
            "startup probe GET /ready",
        ),
        (
            "by a connection",
            true,
            json!({ "readinessProbe": { "tcpSocket": { "port": 8080 } } }),
            "readiness probe of port 8080",
        ),
        (
            "by a command",
            true,
            json!({ "readinessProbe": { "exec": { "command": ["/web", "check"] } } }),
            "readiness probe `/web check`",
        ),
        (
            "there is none of that kind",
            false,
            json!({ "readinessProbe": http }),
            "probe",
        ),
    ] {
        let status = json!({ "name": "web", "ready": false, "started": started, "state": { "running": {} } });
        let mut pod = pod("r2", json!({ "containerStatuses": [status] }));
        pod["spec"]["containers"] = json!([probes]);
        pod["spec"]["containers"][0]["name"] = json!("web");
        let (pods, workload) = ([pod], workload());
        let told = Pods::of(&pods, &workload).waits();
        let expected = format!("container `web` runs and its {expected} does not succeed");
        assert_eq!(told, Some(expected), "{reason}");
    }
}

#[test]
fn what_is_late_is_told_by_its_cause() {
    let workload = workload();
    let condition = |status: Value| vec![pod("r2", status)];
    let unschedulable = json!({ "conditions": [{ "reason": "Unschedulable", "message": "0/3 nodes" }] });
    let unready = json!({ "containerStatuses": [{ "name": "web", "ready": false, "state": { "running": {} } }] });
    for (reason, pods, code) in [
        ("nowhere to run", condition(unschedulable), "Unschedulable"),
        ("never ready", condition(unready), "ProbeFailed"),
        ("nobody knows", Vec::new(), "ProgressDeadlineExceeded"),
    ] {
        let failure = too_late(&Pods::of(&pods, &workload), Some("has timed out progressing"));
        assert_eq!(failure.reason, code, "{reason}");
        assert!(
            failure.hint.is_some() && failure.message.starts_with("not ready within its deadline"),
            "{reason}"
        );
    }
}

#[test]
fn pods_that_are_refused_say_by_whom() {
    for (reason, message, code) in [
        (
            "a quota",
            "pods \"web-1\" is forbidden: exceeded quota: few, requested: pods=1",
            "QuotaExceeded",
        ),
        (
            "a policy",
            "pods \"web-1\" is forbidden: violates PodSecurity",
            "PodRefused",
        ),
    ] {
        assert_eq!(refused_pod(&json!({ "message": message })).reason, code, "{reason}");
    }
}

#[test]
fn a_job_that_gave_up_is_told_by_its_last_pod() {
    let workload = workload();
    let ended = json!({ "phase": "Failed", "containerStatuses": [{
        "name": "migrate", "state": { "terminated": { "exitCode": 1, "reason": "Error" } },
    }]});
    for (reason, condition, pods, code, message) in [
        (
            "its container failed",
            json!({"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}),
            vec![pod("r2", ended)],
            "JobFailed",
            "container `migrate` ended with exit code 1",
        ),
        (
            "its pod is gone",
            json!({"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}),
            vec![],
            "JobFailed",
            "Job has reached the specified backoff limit",
        ),
        (
            "it took too long",
            json!({"reason": "DeadlineExceeded"}),
            vec![],
            "Timeout",
            "it took longer than its `timeout`",
        ),
    ] {
        let (failure, _) = failed_job(&condition, &Pods::of(&pods, &workload));
        assert_eq!(
            (failure.reason.as_str(), failure.message.as_str()),
            (code, message),
            "{reason}"
        );
    }
}

#[test]
fn pods_of_a_try_before_are_nobodys_concern() {
    let crash = |retried: Value| {
        let mut pod = pod("r2", crashed(json!({"exitCode": 3})));
        pod["metadata"]["annotations"] = retried;
        pod
    };
    let mut workload = workload();
    workload["spec"]["template"]["metadata"]["annotations"] = json!({ annotation::RETRIED: "b" });
    for (reason, retried, fails) in [
        ("before any retry", json!({}), false),
        ("of another", json!({ annotation::RETRIED: "a" }), false),
        ("of this one", json!({ annotation::RETRIED: "b" }), true),
    ] {
        let pods = [crash(retried)];
        assert_eq!(Pods::of(&pods, &workload).trouble().is_some(), fails, "{reason}");
    }
}
