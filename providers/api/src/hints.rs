//! What to do about failures that containers have on every platform; a provider adds its own.

/// The hint for a reason; the message beside it says what happened.
pub fn hint(reason: &str) -> Option<&'static str> {
    HINTS.iter().find(|(known, _)| *known == reason).map(|(_, hint)| *hint)
}

const HINTS: &[(&str, &str)] = &[
    (
        "CrashLoopBackOff",
        "the container's last lines are above; `portolan logs SERVICE` has all of them",
    ),
    ("OomKilled", "raise resources.memory, or let the process use less"),
    (
        "StartFailed",
        "check `command`, `workingDir`, `user` and the files of the image",
    ),
    (
        "ProgressDeadlineExceeded",
        "look at the readiness probe and at `portolan logs SERVICE`; rollout.deadline is the limit",
    ),
    (
        "JobFailed",
        "mend its cause and apply again, or repeat it as it is with `portolan run JOB`",
    ),
    ("Timeout", "raise the job's `timeout`, or let it do less"),
];
