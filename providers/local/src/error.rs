//! Failures of the supervisor and the image store as the engine's: the code and the class are theirs, the hint is ours.

use std::path::Path;

use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{CallError, ErrorClass, ImageError};
use portolan_supervisor::data::StorageError;
use portolan_supervisor::error::{ClientError, LaunchError, chain};
use portolan_supervisor::protocol::{Class, ErrorBody};
use portolan_supervisor::secrets::SecretError;
use portolan_supervisor::spec::Publish;

use crate::explain;

/// A request that failed: refused by the supervisor, or lost on the way.
pub fn client(failure: ClientError) -> CallError {
    match failure {
        ClientError::Refused(body) => refused(body),
        other => told(other.class(), other.code(), chain(&other)),
    }
}

/// The supervisor could not be started or spoken to.
pub fn launch(failure: LaunchError) -> CallError {
    match failure {
        LaunchError::Speak(ClientError::Refused(body)) => refused(body),
        other => told(other.class(), other.code(), chain(&other)),
    }
}

/// What the last supervisor has saved cannot be read. Looking again shows the same.
pub fn state(failure: StorageError) -> CallError {
    told(Class::Invalid, "StateUnusable", chain(&failure))
}

/// An image that could not be unpacked.
pub fn image(failure: ImageError) -> CallError {
    let mut error = CallError::new(failure.class, failure.code, failure.message).with_evidence(failure.evidence);
    error.hint = failure.hint;
    error
}

/// Ours: what cannot happen unless this crate is wrong.
pub fn bug(message: String) -> CallError {
    CallError::new(ErrorClass::Bug, "Bug", message)
}

/// Somebody else's, under a name of ours.
pub fn not_ours(id: &ResourceId) -> CallError {
    CallError::new(ErrorClass::Conflict, "Conflict", format!("{id} is not ours"))
        .about(id)
        .with_hint("remove it, choose another name, or make it ours with --take-over")
}

/// A port of the host that is held by someone else.
pub fn port_taken(id: &ResourceId, publish: Publish, failure: &std::io::Error) -> CallError {
    let Publish { address, port } = publish;
    CallError::new(
        ErrorClass::Conflict,
        "PortInUse",
        format!("{id} cannot have {address}:{port}: {failure}"),
    )
    .about(id)
    .with_hint("stop what listens there, or give the service another port in the manifest")
}

/// A secret that no env file of the Target holds.
pub fn secret_missing(id: &ResourceId, fault: &SecretError) -> CallError {
    CallError::new(ErrorClass::Invalid, "SecretMissing", format!("{id}: {}", chain(fault)))
        .about(id)
        .with_hint("add the entry to one of the env files that the Target names")
}

/// What the supervisor will not do.
pub fn refused(body: ErrorBody) -> CallError {
    let error = told(body.class, &body.code, body.message);
    match body.hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn told(class: Class, code: &str, message: String) -> CallError {
    let class = match class {
        Class::Retry => ErrorClass::Retry { after: None },
        Class::Conflict => ErrorClass::Conflict,
        Class::Denied => ErrorClass::Denied,
        Class::Quota => ErrorClass::Quota,
        Class::Invalid => ErrorClass::Invalid,
        Class::Bug => ErrorClass::Bug,
    };
    CallError {
        hint: explain::hint(code).map(String::from),
        ..CallError::new(class, code, message)
    }
}

/// No supervisor and no state: nothing of the app is on this machine.
pub fn not_running(scope: &Scope) -> CallError {
    let message = format!("{}/{} is not on this machine", scope.namespace, scope.app);
    told(Class::Invalid, "NotRunning", message)
}

/// There is something of the app, but no supervisor answers: after a reboot, or because it was killed.
pub fn nobody_looks_after(scope: &Scope) -> CallError {
    let message = format!("no supervisor runs for {}/{}", scope.namespace, scope.app);
    told(Class::Invalid, explain::NOBODY, message)
}

/// What [`nobody_looks_after`] says.
pub fn is_nobody(failure: &CallError) -> bool {
    failure.code == explain::NOBODY
}

/// Longer than any address of a socket may be; known before anything is tried.
pub fn socket_path_too_long(path: &Path, bytes: usize, longest: usize) -> CallError {
    let message = format!(
        "{} has {bytes} bytes, and a socket's path may have {longest}",
        path.display()
    );
    CallError::new(ErrorClass::Invalid, "RuntimeDirectoryUnusable", message)
        .with_hint("set PORTOLAN_HOME to a folder with a shorter path")
}

pub fn unknown_workload<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> CallError {
    let known: Vec<&str> = known.collect();
    invalid(format!("there is no service or job `{name}`")).with_hint(format!("there are {}", known.join(", ")))
}

pub fn invalid(message: String) -> CallError {
    CallError::new(ErrorClass::Invalid, "Invalid", message)
}

/// The connection ended in the middle of a command's output.
pub fn lost(message: &str) -> CallError {
    told(Class::Retry, ClientError::Closed.code(), message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io() -> std::io::Error {
        std::io::Error::from(std::io::ErrorKind::PermissionDenied)
    }

    fn check(reason: &str, told: CallError, code: &str, retried: bool) {
        assert_eq!(told.code, code, "{reason}");
        let retry = matches!(told.class, ErrorClass::Retry { .. });
        assert_eq!(retry, retried, "{reason}: {:?}", told.class);
        assert!(told.hint.is_some(), "{reason}: it says what to do");
    }

    #[test]
    fn each_failure_is_told_as_what_it_is() {
        let report = "/state/state.json is damaged; move it away to begin afresh".to_string();
        let ended = launch(LaunchError::Ended { report });
        assert!(ended.message.contains("is damaged"), "{}", ended.message);
        check(
            "a damaged state is damaged tomorrow too",
            ended,
            "SupervisorStartFailed",
            false,
        );
        let path = || "/run/portolan".into();
        let binary = "/bin/portolan-supervisor".into();
        check(
            "no such program",
            launch(LaunchError::Start { binary, source: io() }),
            "SupervisorStartFailed",
            false,
        );
        check(
            "slow",
            launch(LaunchError::Silent { seconds: 20 }),
            "SupervisorSilent",
            true,
        );
        let folder = launch(LaunchError::RunDir {
            path: path(),
            source: io(),
        });
        check("a folder of another's", folder, "RuntimeDirectoryUnusable", false);
        let denied = || ClientError::Connect {
            path: path(),
            source: io(),
        };
        check(
            "a socket of another's",
            launch(LaunchError::Speak(denied())),
            "SupervisorUnreachable",
            false,
        );
        check(
            "too long for the protocol",
            client(ClientError::TooLong { bytes: 9 << 20 }),
            "SpecTooLarge",
            false,
        );
        check(
            "killed half way",
            client(ClientError::Closed),
            "SupervisorConnectionLost",
            true,
        );
        check(
            "gone before",
            client(ClientError::NotRunning { path: path() }),
            "SupervisorNotRunning",
            true,
        );
        let source = serde_json::from_str::<u8>("x").unwrap_err();
        check(
            "another language",
            client(ClientError::Decode { source }),
            "SupervisorProtocol",
            false,
        );
    }

    #[test]
    fn what_the_supervisor_refuses_is_told_in_its_words() {
        let body = ErrorBody {
            code: "UnknownVersion".into(),
            class: Class::Invalid,
            message: "this supervisor speaks version 2".into(),
            hint: Some("build both anew".into()),
        };
        let told = launch(LaunchError::Speak(ClientError::Refused(body)));
        assert_eq!(
            (told.code.as_str(), told.class),
            ("UnknownVersion", ErrorClass::Invalid)
        );
        assert_eq!(told.message, "this supervisor speaks version 2");
        assert_eq!(told.hint.as_deref(), Some("build both anew"));
    }
}
