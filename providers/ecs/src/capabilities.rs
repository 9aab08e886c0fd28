//! What Amazon ECS does with each field of a manifest.

use std::sync::LazyLock;

use portolan_core::capability::{Capability, Support};
use portolan_core::manifest::EcsCapacity;

/// On Fargate there is less than on instances of one's own.
pub fn of(capacity: EcsCapacity) -> &'static [Capability] {
    static ON_FARGATE: LazyLock<Vec<Capability>> = LazyLock::new(|| [CAPABILITIES, FARGATE_ALONE].concat());
    match capacity {
        EcsCapacity::Fargate => &ON_FARGATE,
        EcsCapacity::Ec2 | EcsCapacity::ManagedInstances => CAPABILITIES,
    }
}

/// Rows as in [`Capability`]: the longest path that matches speaks.
const CAPABILITIES: &[Capability] = &[
    exact("targets"),
    exact("replicas"),
    exact("overrides"),
    exact("bindings"),
    row("uses", NO_ALIAS),
    exact("services.*"),
    row("services.*.build", NO_REGISTRY),
    row("services.*.sidecars.*.build", NO_REGISTRY),
    row("services.*.init.*.build", NO_REGISTRY),
    row("services.*.files", WRITTEN),
    row("services.*.sidecars.*.files", WRITTEN),
    row("services.*.init.*.files", WRITTEN),
    row("services.*.volumes.*.size", NEVER_FULL),
    row("services.*.sidecars.*.volumes.*.size", NEVER_FULL),
    row("services.*.init.*.volumes.*.size", NEVER_FULL),
    row("services.*.resources.pids", NO_PIDS),
    row("services.*.sidecars.*.resources.pids", NO_PIDS),
    row("services.*.init.*.resources.pids", NO_PIDS),
    row("services.*.resources.gpu.model", INSTANCES_GPU),
    row("services.*.sidecars.*.resources.gpu.model", INSTANCES_GPU),
    row("services.*.init.*.resources.gpu.model", INSTANCES_GPU),
    row("services.*.resources.gpu.memory", INSTANCES_GPU),
    row("services.*.sidecars.*.resources.gpu.memory", INSTANCES_GPU),
    row("services.*.init.*.resources.gpu.memory", INSTANCES_GPU),
    row("services.*.resources.gpu.vendor", OTHER_GPU),
    row("services.*.sidecars.*.resources.gpu.vendor", OTHER_GPU),
    row("services.*.init.*.resources.gpu.vendor", OTHER_GPU),
    exact("services.*.resources.gpu.vendor=nvidia"),
    exact("services.*.sidecars.*.resources.gpu.vendor=nvidia"),
    exact("services.*.init.*.resources.gpu.vendor=nvidia"),
    row("services.*.ports.*.protocol=udp", NO_DATAGRAMS),
    row("services.*.sidecars.*.ports.*.protocol=udp", NO_DATAGRAMS),
    row("services.*.sidecars.*.ports.*.public", NO_PUBLIC_SIDECAR),
    exact("services.*.sidecars.*.ports.*.public=false"),
    row("services.*.ports.*.public", BALANCED),
    exact("services.*.ports.*.public=false"),
    row("services.*.domains", RULES),
    row("services.*.domains.*.tls", LISTENERS),
    row("services.*.health.startup", GRACE),
    row("services.*.health.ready", ONE_CHECK),
    row("services.*.health.live", INSIDE),
    row("services.*.health.live.exec", BOUNDS),
    row("services.*.health.live.interval", BOUNDS),
    row("services.*.health.live.timeout", BOUNDS),
    row("services.*.health.live.threshold", BOUNDS),
    row("services.*.sidecars.*.health.startup", GRACE),
    row("services.*.sidecars.*.health.ready", ONE_CHECK),
    row("services.*.sidecars.*.health.live", INSIDE),
    row("services.*.sidecars.*.health.live.exec", BOUNDS),
    row("services.*.sidecars.*.health.live.interval", BOUNDS),
    row("services.*.sidecars.*.health.live.timeout", BOUNDS),
    row("services.*.sidecars.*.health.live.threshold", BOUNDS),
    row("services.*.scale.max", MOVED),
    row("services.*.scale.on.*.cpu", OF_THE_TASK),
    row("services.*.scale.on.*.memory", OF_THE_TASK),
    row("services.*.scale.on.*.queue", NO_METRIC),
    row("services.*.runtime", NO_RUNTIME),
    exact("services.*.runtime=default"),
    row("services.*.rollout.strategy", IN_ORDER),
    row("services.*.rollout.strategy=canary", SHIFTED),
    row("services.*.rollout.strategy=blueGreen", SHIFTED),
    row("services.*.rollout.steps", SHIFTED),
    row("services.*.rollout.deadline", NO_DEADLINE),
    row("services.*.stop.signal", NO_SIGNAL),
    row("services.*.stop.drain", DEREGISTERED),
    row("services.*.stop.gracePeriod", WHOLE_SECONDS),
    row("services.*.logs", RETAINED),
    row("services.*.logs.maxAge", WHOLE_DAYS),
    row("services.*.traffic.allow", NO_WALLS),
    exact("jobs.*"),
    row("jobs.*.build", NO_REGISTRY),
    row("jobs.*.files", WRITTEN),
    row("jobs.*.volumes.*.size", NEVER_FULL),
    row("jobs.*.resources.pids", NO_PIDS),
    row("jobs.*.resources.gpu.model", INSTANCES_GPU),
    row("jobs.*.resources.gpu.memory", INSTANCES_GPU),
    row("jobs.*.resources.gpu.vendor", OTHER_GPU),
    exact("jobs.*.resources.gpu.vendor=nvidia"),
    row("jobs.*.runtime", NO_RUNTIME),
    exact("jobs.*.runtime=default"),
    row("jobs.*.retries", NOT_BY_ITSELF),
    row("jobs.*.timeout", NOT_BY_ITSELF),
    row("jobs.*.schedule", OVERLAPS),
    row("jobs.*.logs", RETAINED),
    row("jobs.*.logs.maxAge", WHOLE_DAYS),
];

/// Fields of a GPU, each by itself: a longer row speaks before a shorter one.
macro_rules! no_gpus {
    ($($place:literal),*) => {
        &[$(
            row(concat!($place, ".resources.gpu.count"), NO_GPU),
            row(concat!($place, ".resources.gpu.memory"), NO_GPU),
            row(concat!($place, ".resources.gpu.model"), NO_GPU),
            row(concat!($place, ".resources.gpu.vendor"), NO_GPU),
            row(concat!($place, ".resources.gpu.vendor=nvidia"), NO_GPU),
        )*]
    };
}

const FARGATE_ALONE: &[Capability] = no_gpus!["services.*", "services.*.sidecars.*", "services.*.init.*", "jobs.*"];

const NO_ALIAS: Support = Support::Impossible(
    "a task on ECS knows names of the whole VPC alone, and none that one app chooses: give the address by a binding of the Target",
);
const NO_REGISTRY: Support = Support::Impossible(
    "a built image lies in this machine's store, where ECS does not find it: push it, and name it as `image`",
);
const WRITTEN: Support = Support::Degraded(
    "another container writes them, before all others, into volumes over their folders: what the image has in those is hidden",
);
const NEVER_FULL: Support = Support::Degraded("a file system of EFS grows as it is written to, and is never full");
const NO_PIDS: Support = Support::Degraded("ECS limits no container's processes");
const NO_GPU: Support =
    Support::Impossible("Fargate has no GPUs: a Target with `capacity: ec2` or `managedInstances` has them");
const INSTANCES_GPU: Support =
    Support::Degraded("which GPU it is follows from the instances behind the capacity provider");
const OTHER_GPU: Support = Support::Impossible("ECS gives containers GPUs of NVIDIA alone");
const NO_DATAGRAMS: Support =
    Support::Impossible("neither Service Connect nor an Application Load Balancer carries datagrams");
const NO_PUBLIC_SIDECAR: Support =
    Support::Impossible("load balancers lead to the service's own container: let it pass on what a sidecar serves");
const BALANCED: Support = Support::Emulated("a listener of that number on the load balancer that the Target names");
const RULES: Support = Support::Emulated("rules of the Application Load Balancer's listeners that the Target names");
const LISTENERS: Support = Support::Emulated("`auto` is the listener with the certificates, `none` the other one");
const GRACE: Support = Support::Degraded(
    "ECS has one check for each container: the time of `startup` is a grace for it, and what it asks is not asked apart",
);
const ONE_CHECK: Support = Support::Degraded(
    "ECS has one check for each container, which is `ready` where there is no `live`; a load balancer asks its `http` besides, and a task \
     that fails either is replaced",
);
const INSIDE: Support = Support::Degraded(
    "ECS asks by a command inside the container, which has to have a shell: `http` by its curl or wget, `tcp` by its nc or bash",
);
const BOUNDS: Support = Support::Emulated(
    "in whole seconds, within what ECS takes: 5 to 300 between checks, 2 to 60 for one, 1 to 10 failures",
);
const MOVED: Support =
    Support::Emulated("Application Auto Scaling moves the number between `min` and `max` by what `on` says");
const OF_THE_TASK: Support =
    Support::Emulated("a share of what the whole task has, its sidecars and what a size is rounded up by among it");
const NO_METRIC: Support = Support::Impossible(
    "Application Auto Scaling moves by metrics of CloudWatch, where a queue of RabbitMQ or Redis has none",
);
const NO_RUNTIME: Support = Support::Impossible("ECS runs containers by its own runtime");
const IN_ORDER: Support = Support::Emulated(
    "how many tasks there may be, and at least, meanwhile; old ones stop first where a volume is written to, and one of them where a GPU is used",
);
const SHIFTED: Support = Support::Emulated(
    "a deployment of ECS's own: shares in whole minutes, of one size where there are several; it needs a load balancer, or a namespace",
);
const NO_DEADLINE: Support = Support::Degraded(
    "ECS gives a revision up after failed tasks, and not after a time: the deadline is a tag that says what was meant",
);
const NO_SIGNAL: Support =
    Support::Impossible("ECS sends what the image's STOPSIGNAL says, else SIGTERM: say it in the image");
const DEREGISTERED: Support = Support::Degraded(
    "in whole seconds, as the time that a load balancer gives to open connections; without one, tasks are told to stop at once",
);
const WHOLE_SECONDS: Support = Support::Emulated("in whole seconds, rounded up");
const RETAINED: Support =
    Support::Degraded("CloudWatch keeps all that is written, for as long as `maxAge` or the Target's `logs` says");
const WHOLE_DAYS: Support = Support::Emulated("in days, rounded up to one of the spans that CloudWatch has");
const NO_WALLS: Support =
    Support::Degraded("the security groups of the Target say who may reach a task, for all apps alike");
const NOT_BY_ITSELF: Support =
    Support::Degraded("ECS tries no task again, and ends none that takes long: a tag says what was meant");
const OVERLAPS: Support = Support::Degraded("EventBridge Scheduler starts a run also while the one before is not over");

const fn exact(field: &'static str) -> Capability {
    row(field, Support::Exact)
}

const fn row(field: &'static str, support: Support) -> Capability {
    Capability { field, support }
}

#[cfg(test)]
mod tests {
    use portolan_core::capability::support_of;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn gpus_are_a_matter_of_capacity() {
        let path = ["services", "web", "resources", "gpu", "count"];
        let word = |capacity, path: &[&str], value: &Value| support_of(of(capacity), path, value).map(|one| one.word());
        for (reason, capacity, expected) in [
            ("Fargate has none", EcsCapacity::Fargate, "impossible"),
            ("instances have", EcsCapacity::Ec2, "exact"),
            ("Amazon's own, too", EcsCapacity::ManagedInstances, "exact"),
        ] {
            assert_eq!(word(capacity, &path, &json!(1)), Some(expected), "{reason}");
        }
        let vendor = ["jobs", "train", "resources", "gpu", "vendor"];
        assert_eq!(word(EcsCapacity::Ec2, &vendor, &json!("nvidia")), Some("exact"));
        assert_eq!(word(EcsCapacity::Ec2, &vendor, &json!("amd")), Some("impossible"));
    }
}
