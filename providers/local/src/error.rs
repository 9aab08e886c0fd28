//! Failures of the supervisor and the image store as the engine's.

use portolan_core::resource::ResourceId;
use portolan_provider_api::{CallError, ErrorClass, ImageError};
use portolan_supervisor::error::{ClientError, LaunchError};
use portolan_supervisor::protocol::{Class, ErrorBody};
use portolan_supervisor::secrets::SecretError;

use crate::explain;

/// A request that failed: refused by the supervisor, or lost on the way.
pub fn client(failure: ClientError) -> CallError {
    match failure {
        ClientError::Refused(body) => refused(body),
        other => CallError::new(
            ErrorClass::Retry { after: None },
            "SupervisorUnreachable",
            chain(&other),
        ),
    }
}

/// The supervisor could not be started or spoken to.
pub fn launch(failure: LaunchError) -> CallError {
    CallError::new(
        ErrorClass::Retry { after: None },
        "SupervisorUnreachable",
        chain(&failure),
    )
    .with_hint("`portolan doctor` tells what this machine lacks")
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

/// A port of the host that is held by someone else.
pub fn port_taken(id: &ResourceId, address: &str, port: u64, failure: &std::io::Error) -> CallError {
    CallError::new(
        ErrorClass::Conflict,
        "PortInUse",
        format!("{id} cannot have {address}:{port}: {failure}"),
    )
    .with_hint("stop what listens there, or give the service another port in the manifest")
}

/// A secret that no env file of the Target holds.
pub fn secret_missing(id: &ResourceId, fault: &SecretError) -> CallError {
    CallError::new(ErrorClass::Invalid, "SecretMissing", format!("{id}: {}", chain(fault)))
        .with_hint("add the entry to one of the env files that the Target names")
}

fn refused(body: ErrorBody) -> CallError {
    let class = match body.class {
        Class::Retry => ErrorClass::Retry { after: None },
        Class::Conflict => ErrorClass::Conflict,
        Class::Denied => ErrorClass::Denied,
        Class::Quota => ErrorClass::Quota,
        Class::Invalid => ErrorClass::Invalid,
        Class::Bug => ErrorClass::Bug,
    };
    let hint = body.hint.or_else(|| explain::hint(&body.code).map(String::from));
    CallError {
        hint,
        ..CallError::new(class, body.code, body.message)
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// No supervisor and no state: nothing of the app is on this machine.
pub fn not_running(scope: &portolan_core::plan::Scope) -> CallError {
    let message = format!("{}/{} is not on this machine", scope.namespace, scope.app);
    CallError::new(ErrorClass::Invalid, "NotRunning", message).with_hint("bring it up with `portolan up`")
}

pub fn unknown_workload<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> CallError {
    let known: Vec<&str> = known.collect();
    invalid(format!("there is no service or job `{name}`")).with_hint(format!("there are {}", known.join(", ")))
}

pub fn invalid(message: String) -> CallError {
    CallError::new(ErrorClass::Invalid, "Invalid", message)
}

pub fn lost(message: &str) -> CallError {
    CallError::new(ErrorClass::Retry { after: None }, "SupervisorUnreachable", message)
}
