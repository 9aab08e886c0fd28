//! This platform's failures -> what to do about them, in one line.

use portolan_provider_api::hints;

/// The hint for a reason of the supervisor's; the message beside it says what happened.
pub fn hint(reason: &str) -> Option<&'static str> {
    let ours = HINTS.iter().find(|(known, _)| *known == reason);
    ours.map(|(_, hint)| *hint).or_else(|| hints::hint(reason))
}

/// Nobody looks after the app: a reason of ours, for a supervisor that is not there cannot say so.
pub const NOBODY: &str = "SupervisorNotRunning";

const HINTS: &[(&str, &str)] = &[
    (
        "PidsLimitReached",
        "look for processes that nobody waits for; the limit keeps one container from taking them all",
    ),
    (
        "PortInUse",
        "stop what listens there, or give the service another port in the manifest",
    ),
    (
        "InvalidSpec",
        "the message names the field; where the manifest says it rightly, this is a fault of Portolan's to report",
    ),
    (NOBODY, "`portolan up` starts one, which takes over what still runs"),
    ("NotRunning", "bring it up with `portolan up`"),
    (
        "RuntimeDirectoryUnusable",
        "look at the folder's owner, or set PORTOLAN_HOME to another one",
    ),
    (
        "SpecTooLarge",
        "make `files` smaller, or put what they hold into the image",
    ),
    (
        "StateUnusable",
        "look at the file that is named; moved away, it is forgotten, and what still runs has to be ended by hand",
    ),
    ("SupervisorConnectionLost", "the same command again finishes it"),
    (
        "SupervisorProtocol",
        "build `portolan` and `portolan-supervisor` anew, from one source",
    ),
    (
        "SupervisorSilent",
        "its own log, `supervisor.log` in the app's run folder, says what it does; then try again",
    ),
    (
        "SupervisorStartFailed",
        "the message holds its last words; `portolan doctor` says what this machine lacks",
    ),
    (
        "SupervisorUnreachable",
        "look at the socket's owner: only that user and root may speak to it",
    ),
];
