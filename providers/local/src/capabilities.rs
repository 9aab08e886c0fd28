//! What this machine does with each field of a manifest.

use std::sync::LazyLock;

use portolan_core::capability::{Capability, Support};
use portolan_supervisor::delegation::{has_other_users, limits_are_kept};

/// What root can do, less what this user cannot. It does not change while a command runs.
pub fn of_this_machine() -> &'static [Capability] {
    static TABLE: LazyLock<Vec<Capability>> = LazyLock::new(|| table(limits_are_kept(), has_other_users()));
    &TABLE
}

fn table(limits: bool, users: bool) -> Vec<Capability> {
    let without_limits = if limits { &[][..] } else { WITHOUT_LIMITS };
    let without_users = if users { &[][..] } else { WITHOUT_USERS };
    [CAPABILITIES, without_limits, without_users].concat()
}

/// Rows as in [`Capability`]: the longest path that matches speaks.
const CAPABILITIES: &[Capability] = &[
    exact("targets"),
    exact("replicas"),
    exact("overrides"),
    exact("bindings"),
    exact("uses"),
    exact("services.*"),
    row(
        "services.*.scale.max",
        Support::Degraded("nothing scales by itself here: `min` replicas run"),
    ),
    row(
        "services.*.scale.on",
        Support::Degraded("nothing scales by itself here"),
    ),
    row(
        "services.*.domains",
        Support::Degraded("no domain leads here: a public port is reached by its number"),
    ),
    row("services.*.runtime", OWN_RUNTIME),
    exact("services.*.runtime=default"),
    row("services.*.resources.gpu", NO_GPU),
    row("services.*.sidecars.*.resources.gpu", NO_GPU),
    row("services.*.init.*.resources.gpu", NO_GPU),
    row(
        "services.*.ports.*.public",
        Support::Emulated("the supervisor forwards a port of the host to the replicas"),
    ),
    exact("services.*.ports.*.public=false"),
    row("services.*.volumes.*.size", NO_QUOTA),
    row("services.*.sidecars.*.volumes.*.size", NO_QUOTA),
    row("services.*.init.*.volumes.*.size", NO_QUOTA),
    exact("jobs.*"),
    row("jobs.*.schedule", NO_CLOCK),
    row("jobs.*.timeZone", NO_CLOCK),
    row("jobs.*.runtime", OWN_RUNTIME),
    exact("jobs.*.runtime=default"),
    row("jobs.*.resources.gpu", NO_GPU),
    row("jobs.*.volumes.*.size", NO_QUOTA),
];

const WITHOUT_LIMITS: &[Capability] = &[
    row("services.*.resources", NO_CGROUP),
    row("services.*.sidecars.*.resources", NO_CGROUP),
    row("services.*.init.*.resources", NO_CGROUP),
    row("jobs.*.resources", NO_CGROUP),
];

const WITHOUT_USERS: &[Capability] = &[
    row("services.*.user", ONE_ID),
    row("services.*.sidecars.*.user", ONE_ID),
    row("services.*.init.*.user", ONE_ID),
    row("jobs.*.user", ONE_ID),
    exact("services.*.user=root"),
    exact("services.*.sidecars.*.user=root"),
    exact("services.*.init.*.user=root"),
    exact("jobs.*.user=root"),
    exact("services.*.user=0"),
    exact("services.*.sidecars.*.user=0"),
    exact("services.*.init.*.user=0"),
    exact("jobs.*.user=0"),
];

const NO_CGROUP: Support = Support::Degraded("limits are not kept: this user may make no cgroups");
const ONE_ID: Support = Support::Impossible(
    "this user has one id, which is root's in a container: `portolan doctor` says what gives it more",
);
const OWN_RUNTIME: Support = Support::Impossible("portolan-runtime is the one runtime here");
const NO_GPU: Support = Support::Impossible("no GPU is given to a container here yet");
const NO_CLOCK: Support =
    Support::Impossible("nothing runs by the clock here: an override of this target can leave the job out");
const NO_QUOTA: Support = Support::Degraded("a volume is a folder and may grow until the disk is full");

const fn exact(field: &'static str) -> Capability {
    row(field, Support::Exact)
}

const fn row(field: &'static str, support: Support) -> Capability {
    Capability { field, support }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_core::capability::support_of;
    use serde_json::json;

    #[test]
    fn an_unprivileged_user_is_told_what_is_lacking() {
        let user = ["services", "web", "user"];
        let memory = ["services", "web", "resources", "memory"];
        for (reason, limits, users, path, value, expected) in [
            ("root", true, true, &memory[..], json!("64Mi"), Support::Exact),
            ("no cgroup", false, true, &memory, json!("64Mi"), NO_CGROUP),
            ("newuidmap", false, true, &user, json!("1000"), Support::Exact),
            ("a single id", false, false, &user, json!("1000"), ONE_ID),
            ("its one user", false, false, &user, json!("root"), Support::Exact),
        ] {
            let support = support_of(&table(limits, users), path, &value);
            assert_eq!(support, Some(expected), "{reason}");
        }
    }
}
