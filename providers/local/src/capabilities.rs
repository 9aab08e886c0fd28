//! What this machine does with each field of a manifest.

use portolan_core::capability::{Capability, Support};

/// Rows as in [`Capability`]: the longest path that matches speaks.
pub const CAPABILITIES: &[Capability] = &[
    exact("targets"),
    exact("overrides"),
    exact("bindings"),
    exact("services.*"),
    row(
        "services.*.scale.max",
        Support::Degraded("nothing scales by itself here: `min` replicas run"),
    ),
    row(
        "services.*.ports.*.public",
        Support::Emulated("the supervisor forwards a port of the host to the replicas"),
    ),
    exact("services.*.ports.*.public=false"),
    row("services.*.volumes.*.size", NO_QUOTA),
    row("services.*.sidecars.*.volumes.*.size", NO_QUOTA),
    row("services.*.init.*.volumes.*.size", NO_QUOTA),
    exact("jobs.*"),
    row("jobs.*.volumes.*.size", NO_QUOTA),
];

const NO_QUOTA: Support = Support::Degraded("a volume is a folder and may grow until the disk is full");

const fn exact(field: &'static str) -> Capability {
    row(field, Support::Exact)
}

const fn row(field: &'static str, support: Support) -> Capability {
    Capability { field, support }
}
