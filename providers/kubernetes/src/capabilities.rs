//! What a cluster does with each field of a manifest.

use portolan_core::capability::{Capability, Support};

/// Rows as in [`Capability`]: the longest path that matches speaks.
pub const CAPABILITIES: &[Capability] = &[
    exact("targets"),
    exact("replicas"),
    exact("overrides"),
    exact("bindings"),
    row("uses", ALIAS),
    exact("services.*"),
    row("services.*.build", NO_REGISTRY),
    row("services.*.sidecars.*.build", NO_REGISTRY),
    row("services.*.init.*.build", NO_REGISTRY),
    row("services.*.domains.*.tls", ITS_CONTROLLERS),
    row("services.*.scale.max", MOVED),
    row("services.*.scale.on.*.cpu", METRICS_SERVER),
    row("services.*.scale.on.*.memory", METRICS_SERVER),
    row("services.*.scale.on.*.queue", KEDA),
    row("services.*.runtime", RUNTIME_CLASS),
    exact("services.*.runtime=default"),
    row("services.*.rollout.strategy=canary", SHARES),
    row("services.*.rollout.strategy=blueGreen", SWITCHES),
    row("services.*.rollout.steps", SHARES),
    row("services.*.rollout.deadline", WHOLE_SECONDS),
    row("services.*.stop.signal", NO_SIGNAL),
    row("services.*.stop.drain", SLEEPS),
    row("services.*.stop.gracePeriod", WHOLE_SECONDS),
    row("services.*.health.startup.interval", WHOLE_SECONDS),
    row("services.*.health.startup.timeout", WHOLE_SECONDS),
    row("services.*.health.ready.interval", WHOLE_SECONDS),
    row("services.*.health.ready.timeout", WHOLE_SECONDS),
    row("services.*.health.live.interval", WHOLE_SECONDS),
    row("services.*.health.live.timeout", WHOLE_SECONDS),
    row("services.*.sidecars.*.health.startup.interval", WHOLE_SECONDS),
    row("services.*.sidecars.*.health.startup.timeout", WHOLE_SECONDS),
    row("services.*.sidecars.*.health.ready.interval", WHOLE_SECONDS),
    row("services.*.sidecars.*.health.ready.timeout", WHOLE_SECONDS),
    row("services.*.sidecars.*.health.live.interval", WHOLE_SECONDS),
    row("services.*.sidecars.*.health.live.timeout", WHOLE_SECONDS),
    row("services.*.logs", NODES_LOGS),
    row("services.*.traffic.allow", POLICY),
    row("services.*.volumes.*.size", GROWS),
    row("services.*.sidecars.*.volumes.*.size", GROWS),
    row("services.*.init.*.volumes.*.size", GROWS),
    row("services.*.resources.pids", NODES_PIDS),
    row("services.*.sidecars.*.resources.pids", NODES_PIDS),
    row("services.*.init.*.resources.pids", NODES_PIDS),
    exact("jobs.*"),
    row("jobs.*.build", NO_REGISTRY),
    row("jobs.*.runtime", RUNTIME_CLASS),
    exact("jobs.*.runtime=default"),
    row("jobs.*.timeout", OVER_ALL_TRIES),
    row("jobs.*.logs", NODES_LOGS),
    row("jobs.*.volumes.*.size", GROWS),
    row("jobs.*.resources.pids", NODES_PIDS),
];

const ALIAS: Support = Support::Emulated(
    "a Service of type ExternalName has the bare name, of which a KubeNamespace holds one; it takes the cluster's domain to be \
     cluster.local",
);
const NO_REGISTRY: Support = Support::Impossible(
    "a built image lies in this machine's store, where no cluster finds it: push it, and name it as `image`",
);
const MOVED: Support = Support::Emulated("what moves the number between `min` and `max` is said by `on`");
const METRICS_SERVER: Support =
    Support::Emulated("a HorizontalPodAutoscaler, which moves once the cluster has a metrics server");
const KEDA: Support =
    Support::Emulated("a ScaledObject of KEDA, which the cluster has to have; it makes the autoscaler for all of `on`");
const RUNTIME_CLASS: Support = Support::Emulated("the RuntimeClass of that name, which the cluster has to have");
const ITS_CONTROLLERS: Support = Support::Emulated(
    "an Ingress names the secret that its controller, or cert-manager, keeps the certificate in; behind a Gateway its \
     listeners say which domains are reached by https",
);
const POLICY: Support = Support::Emulated(
    "a NetworkPolicy for each service with ports, which is kept where the cluster's network keeps such policies",
);
const SHARES: Support = Support::Emulated(
    "a second Deployment, which whoever applies brings from step to step; a canary's share is its number of replicas beside \
     all old ones, to the half at most, or exact by the weights of an HTTPRoute; with a GPU old replicas stop first, without steps",
);
const SWITCHES: Support = Support::Emulated(
    "a second Deployment, to which the service's KubeServices are switched until the first has the new revision too; with a \
     GPU old replicas stop first, without a switch",
);
const NO_SIGNAL: Support =
    Support::Impossible("a kubelet sends what the image's STOPSIGNAL says, else SIGTERM: say it in the image");
const WHOLE_SECONDS: Support = Support::Emulated("in whole seconds, rounded up");
const SLEEPS: Support = Support::Emulated(
    "the container sleeps for all of it, in whole seconds, before it is sent the signal, also where no connection is open",
);
const NODES_LOGS: Support =
    Support::Degraded("each node keeps as much of what containers write as its kubelet is told");
const NODES_PIDS: Support =
    Support::Degraded("a kubelet has one limit of processes, the same for all pods of its node");
const GROWS: Support = Support::Degraded("a volume grows where its storage class lets it, and never shrinks");
const OVER_ALL_TRIES: Support =
    Support::Emulated("one deadline over all tries of a job: `timeout` for each of them, in whole seconds");

const fn exact(field: &'static str) -> Capability {
    row(field, Support::Exact)
}

const fn row(field: &'static str, support: Support) -> Capability {
    Capability { field, support }
}
