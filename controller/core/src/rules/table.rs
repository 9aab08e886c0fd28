//! Every rule, part by part.

use super::test::{Test, shares};
use super::{Reason, Rule, Said};
use crate::manifest::{BindingType, ECS_PROVIDER, LOCAL_PROVIDER, Logs};
use crate::parse::node::{Entry, Node};

const SPEC: &[&str] = &["spec"];
const SERVICES: &[&str] = &["spec/services/*"];
const SCALES: &[&str] = &["spec/services/*/scale"];
const ROLLOUTS: &[&str] = &["spec/services/*/rollout"];
const JOBS: &[&str] = &["spec/jobs/*"];
const LOGS: &[&str] = &["spec/services/*/logs", "spec/jobs/*/logs"];
const WORKLOADS: &[&str] = &["spec/services/*", "spec/jobs/*"];
const BESIDE: &[&str] = &["spec/services/*/sidecars/*", "spec/services/*/init/[]"];
const WITH_IMAGE: &[&str] = &["spec/services/*", "spec/services/*/sidecars/*", "spec/jobs/*"];
const CONTAINERS: &[&str] = &[
    "spec/services/*",
    "spec/services/*/sidecars/*",
    "spec/services/*/init/[]",
    "spec/jobs/*",
];
const WITH_HEALTH: &[&str] = &["spec/services/*", "spec/services/*/sidecars/*"];
const PROBES: &[&str] = &[
    "spec/services/*/health/startup",
    "spec/services/*/health/ready",
    "spec/services/*/health/live",
    "spec/services/*/sidecars/*/health/startup",
    "spec/services/*/sidecars/*/health/ready",
    "spec/services/*/sidecars/*/health/live",
];

const SPEAKS_HTTP: Test = Test::Any(&[Test::Not(&Test::Has("protocol")), Test::Says("protocol", "http")]);
const CARRIED: Test = Test::Not(&Test::Says("protocol", "udp"));
const HAS_HTTP_PORT: Test = Test::Some("ports", &SPEAKS_HTTP);

const IMAGES: &[&str] = &["build", "image"];
const ACTIONS: &[&str] = &["http", "tcp", "exec"];
const METRICS: &[&str] = &["cpu", "memory", "queue"];
const VALUES: &[&str] = &["value", "secret"];

const RESERVED: &str = "PORTOLAN_";
const STEPS: &str = "RolloutSteps";

/// Those of an App.
pub fn app_rules() -> &'static [Rule] {
    APP
}

/// Those of a Target.
pub fn target_rules() -> &'static [Rule] {
    TARGET
}

static APP: &[Rule] = &[
    Rule {
        hint: Some("add one under `services` or `jobs`"),
        reason: Reason::Required,
        ..Rule::of(
            "EmptyApp",
            SPEC,
            Test::Any(&[Test::Filled("services"), Test::Filled("jobs")]),
            "an app with neither services nor jobs is nothing",
        )
    },
    Rule {
        field: "replicas",
        hint: Some("say `scale` of the service instead"),
        ..Rule::of(
            "ReplicasUnclear",
            SPEC,
            Test::Any(&[
                Test::Not(&Test::Has("replicas")),
                Test::All(&[Test::Size("services", 1), Test::NoneHas("services", "scale")]),
            ]),
            "`replicas` is for an app of one service that says no `scale` of its own",
        )
    },
    Rule {
        field: "jobs",
        general: Some("a job has the name of a service"),
        because: Some(|_, service| {
            let line = service.key_span.start.line;
            format!("`after` could mean either; the service stands on line {line}")
        }),
        ..Rule::of(
            "DuplicateName",
            SPEC,
            Test::Apart("jobs", "services"),
            "job {key} has the name of a service",
        )
    },
    Rule {
        field: "bindings",
        general: Some("a binding has the name of a service"),
        because: Some(both_set),
        ..Rule::of(
            "DuplicateName",
            SPEC,
            Test::Apart("bindings", "services"),
            "binding {key} has the name of a service",
        )
    },
    Rule {
        field: "uses",
        general: Some("one in `uses` has the name of a service"),
        because: Some(both_set),
        ..Rule::of(
            "DuplicateName",
            SPEC,
            Test::Apart("uses", "services"),
            "{key} in `uses` has the name of a service",
        )
    },
    Rule {
        field: "uses",
        general: Some("one in `uses` has the name of a binding"),
        because: Some(both_set),
        ..Rule::of(
            "DuplicateName",
            SPEC,
            Test::Apart("uses", "bindings"),
            "{key} in `uses` has the name of a binding",
        )
    },
    Rule {
        field: "overrides",
        general: Some("an override is for what is not a target of this app"),
        known: "its targets are",
        ..Rule::of(
            "UnknownTarget",
            SPEC,
            Test::KeysListed("overrides", "targets", LOCAL_PROVIDER),
            "{key} is not a target of this app",
        )
    },
    Rule {
        field: "protocol",
        general: Some("udp is not carried between apps"),
        hint: Some("use `http` or `tcp`"),
        cause: Some("between apps connections are carried, and datagrams are none"),
        ..Rule::of("SharedUdp", &["spec/uses/*"], CARRIED, "{name} cannot be used by udp")
    },
    // Containers.
    Rule {
        hint: Some("add `build: {context: ./FOLDER}` or `image: REFERENCE`"),
        reason: Reason::Required,
        ..Rule::of(
            "NoImage",
            WITH_IMAGE,
            Test::Any(&[Test::Has("build"), Test::Has("image")]),
            "{it} has no image",
        )
    },
    Rule {
        general: Some("it has both `build` and `image`"),
        hint: Some("`build` makes the image, `image` names one that exists: keep one of them"),
        ..Rule::of(
            "BuildAndImage",
            CONTAINERS,
            Test::OneOf(IMAGES),
            "{it} has both {first} and {second}",
        )
    },
    Rule {
        field: "secrets",
        parser_places: BESIDE,
        general: Some("a variable stands in `env` and in `secrets`"),
        because: Some(|_, plain| format!("it has a value on line {} already", plain.key_span.start.line)),
        ..Rule::of(
            "DuplicateName",
            WORKLOADS,
            Test::Apart("secrets", "env"),
            "{key} stands in `env` and in `secrets`",
        )
    },
    reserved(Test::NoKeyBegins("env", RESERVED), "env"),
    reserved(Test::NoKeyBegins("secrets", RESERVED), "secrets"),
    // Replicas.
    Rule {
        field: "max",
        general: Some("the replicas that there are at most are fewer than those that are always there"),
        hint: Some("`max` is at least `min`, which is 1 if left out"),
        said: Some(|scale, _| {
            let number = |key| scale.get(key).and_then(Node::integer);
            let (max, min) = (number("max").unwrap_or_default(), number("min").unwrap_or(1));
            let message = format!("at most {max} replicas are fewer than the {min} that are always there");
            (message, None)
        }),
        ..Rule::of("OutOfRange", SCALES, Test::NotLess("max", "min", 1), "")
    },
    Rule {
        field: "scale.on",
        hint: Some("add `max`"),
        reason: Reason::Required,
        ..Rule::of(
            "ScaleWithoutMax",
            SERVICES,
            Test::Any(&[Test::Not(&Test::Filled("scale.on")), Test::Has("scale.max")]),
            "{name} scales, and nothing says how far",
        )
    },
    Rule {
        field: "on",
        hint: Some("say `min: 1`, or scale by a `queue` too"),
        // Where there is no replica, there is no processor time either: only what waits outside can bring the first one.
        ..Rule::of(
            "ScaleFromNothing",
            SCALES,
            Test::Any(&[
                Test::Not(&Test::Filled("on")),
                Test::Not(&Test::Counts("min", 0)),
                Test::Some("on", &Test::Has("queue")),
            ]),
            "without a replica there is nothing to scale by",
        )
    },
    Rule {
        hint: Some("give it one of `cpu`, `memory` and `queue`"),
        reason: Reason::Required,
        ..Rule::of(
            "ScaleMetric",
            &["spec/services/*/scale/on/[]"],
            Test::Any(&[Test::Has("cpu"), Test::Has("memory"), Test::Has("queue")]),
            "nothing is said to scale by",
        )
    },
    Rule {
        general: Some("one item scales by several things"),
        hint: Some("give each of {said} an item of its own"),
        ..Rule::of(
            "ScaleMetric",
            &["spec/services/*/scale/on/[]"],
            Test::OneOf(METRICS),
            "one item scales by {count} things",
        )
    },
    limit(
        Test::ItemsNeed("scale.on", "cpu", "resources.cpu"),
        "set `resources.cpu` of the service",
    ),
    limit(
        Test::ItemsNeed("scale.on", "memory", "resources.memory"),
        "set `resources.memory` of the service",
    ),
    // Ports.
    Rule {
        field: "domains",
        hint: Some("add `ports: [{name: http, port: 8080}]`; what a domain leads to is the first of them"),
        reason: Reason::Required,
        ..Rule::of(
            "DomainPort",
            SERVICES,
            Test::Any(&[Test::Not(&Test::Filled("domains")), HAS_HTTP_PORT]),
            "{name} has a domain, and no port that speaks http",
        )
    },
    Rule {
        field: "traffic.allow",
        hint: Some("give it a port with `protocol: http` or `tcp`; udp is not carried between apps"),
        ..Rule::of(
            "SharedUdp",
            SERVICES,
            Test::Any(&[Test::Not(&Test::Filled("traffic.allow")), Test::Some("ports", &CARRIED)]),
            "{name} allows other apps, and has no port for them",
        )
    },
    // Probes.
    Rule {
        hint: Some("give it one of `http`, `tcp` and `exec`"),
        reason: Reason::Required,
        ..Rule::of(
            "ProbeAction",
            PROBES,
            Test::Any(&[Test::Has("http"), Test::Has("tcp"), Test::Has("exec")]),
            "{it} asks nothing",
        )
    },
    Rule {
        general: Some("it asks several things"),
        hint: Some("a probe asks one thing: keep one of {said}"),
        ..Rule::of("ProbeAction", PROBES, Test::OneOf(ACTIONS), "{it} asks {count} things")
    },
    port_of(
        Test::Any(&[
            Test::Not(&Test::Has("health.startup.http")),
            Test::Has("health.startup.http.port"),
            Test::Has("health.startup.tcp"),
            Test::Has("health.startup.exec"),
            HAS_HTTP_PORT,
        ]),
        "health.startup.http",
    ),
    port_of(
        Test::Any(&[
            Test::Not(&Test::Has("health.ready.http")),
            Test::Has("health.ready.http.port"),
            Test::Has("health.ready.tcp"),
            Test::Has("health.ready.exec"),
            HAS_HTTP_PORT,
        ]),
        "health.ready.http",
    ),
    port_of(
        Test::Any(&[
            Test::Not(&Test::Has("health.live.http")),
            Test::Has("health.live.http.port"),
            Test::Has("health.live.tcp"),
            Test::Has("health.live.exec"),
            HAS_HTTP_PORT,
        ]),
        "health.live.http",
    ),
    // Times and sizes.
    lasts(PROBES, Test::Lasts("interval"), "interval"),
    lasts(PROBES, Test::Lasts("timeout"), "timeout"),
    lasts(ROLLOUTS, Test::Lasts("deadline"), "deadline"),
    lasts(JOBS, Test::Lasts("timeout"), "timeout"),
    lasts(LOGS, Test::Lasts("maxAge"), "maxAge"),
    Rule {
        field: "maxSize",
        hint: Some("at least 128Ki; 10Mi if left out"),
        ..Rule::of(
            "OutOfRange",
            LOGS,
            Test::Holds("maxSize", Logs::SMALLEST_FILE),
            "{field} is less than the longest line needs",
        )
    },
    Rule {
        field: "timeZone",
        hint: Some("add `schedule: \"0 3 * * *\"`, or take it out"),
        ..Rule::of(
            "ScheduleMissing",
            JOBS,
            Test::Any(&[Test::Not(&Test::Has("timeZone")), Test::Has("schedule")]),
            "a time zone without a schedule says nothing",
        )
    },
    // Rollouts.
    Rule {
        hint: Some("add `steps: [{weight: 10%, pause: 5m}]`, or more of them"),
        reason: Reason::Required,
        ..Rule::of(
            STEPS,
            ROLLOUTS,
            Test::Any(&[Test::Not(&Test::Says("strategy", "canary")), Test::Has("steps")]),
            "a canary has no steps",
        )
    },
    Rule {
        field: "steps",
        hint: Some("give it one, such as `{weight: 10%, pause: 5m}`"),
        reason: Reason::Required,
        ..Rule::of(
            STEPS,
            ROLLOUTS,
            Test::Any(&[
                Test::Not(&Test::Says("strategy", "canary")),
                Test::Not(&Test::Has("steps")),
                Test::Filled("steps"),
            ]),
            "a canary has no steps",
        )
    },
    Rule {
        field: "steps",
        hint: Some("`strategy: canary` takes steps; the others replace replicas without them"),
        ..Rule::of(
            STEPS,
            ROLLOUTS,
            Test::Any(&[
                Test::Not(&Test::Has("steps")),
                Test::Says("strategy", "canary"),
                Test::Says("strategy", "blueGreen"),
            ]),
            "these steps are never taken",
        )
    },
    Rule {
        field: "steps",
        general: Some("the share of a step is not larger than the one before it, or is everything"),
        hint: Some("shares grow from step to step, from 1% on; after the last step the new revision gets everything"),
        said: Some(no_growth),
        ..Rule::of(
            STEPS,
            ROLLOUTS,
            Test::When(&Test::Says("strategy", "canary"), &Test::Grows("steps")),
            "",
        )
    },
    Rule {
        field: "steps",
        hint: Some("several shares are what `strategy: canary` is for"),
        ..Rule::of(
            STEPS,
            ROLLOUTS,
            Test::When(&Test::Says("strategy", "blueGreen"), &Test::AtMost("steps", 1)),
            "`blueGreen` has one step at most",
        )
    },
    Rule {
        field: "steps",
        general: Some("`blueGreen` gives the new revision nothing before the switch"),
        hint: Some("say `weight: 0%`, or `strategy: canary`"),
        said: Some(|rollout, index| {
            let share = share(rollout, index);
            let message = format!("`blueGreen` gives the new revision nothing before the switch, not {share}%");
            (message, None)
        }),
        ..Rule::of(
            STEPS,
            ROLLOUTS,
            Test::When(
                &Test::Says("strategy", "blueGreen"),
                &Test::Each("steps", &Test::Says("weight", "0%")),
            ),
            "",
        )
    },
];

static TARGET: &[Rule] = &[
    Rule {
        field: "provider",
        hint: Some("add `ecs: {account: ..., region: ..., cluster: ..., subnets: [...]}`"),
        reason: Reason::Required,
        ..Rule::of(
            "TargetIncomplete",
            SPEC,
            Test::Any(&[Test::Not(&Test::Says("provider", ECS_PROVIDER)), Test::Has("ecs")]),
            "a Target of the provider `ecs` says in `ecs` which cluster it is",
        )
    },
    Rule {
        hint: Some("keep the one that secrets come from"),
        ..Rule::of(
            "SecretSources",
            &["spec/kubernetes"],
            Test::OneOf(&["secretStore", "secretProviderClass"]),
            "{it} has both a `secretStore` and a `secretProviderClass`",
        )
    },
    Rule {
        general: Some("it has a key that no type of binding has"),
        known: "there are",
        ..Rule::of(
            "UnknownKey",
            &["spec/bindings/*"],
            Test::KeysAmong(&BindingType::ANY_KEY),
            "{key} is a key of no type of binding",
        )
    },
    Rule {
        hint: Some(VALUE_OR_SECRET),
        reason: Reason::Required,
        ..Rule::of(
            "BindingValue",
            &["spec/bindings/*/*"],
            Test::Any(&[Test::Has("value"), Test::Has("secret")]),
            "{it} has no value",
        )
    },
    Rule {
        hint: Some(VALUE_OR_SECRET),
        ..Rule::of(
            "BindingValue",
            &["spec/bindings/*/*"],
            Test::OneOf(VALUES),
            "{it} has both a `value` and a `secret`",
        )
    },
];

const VALUE_OR_SECRET: &str = "give it either `value` or `secret`";

const fn reserved(test: Test, field: &'static str) -> Rule {
    Rule {
        field,
        parser_places: BESIDE,
        general: Some("a variable has a name that Portolan sets itself"),
        hint: Some("choose a name that does not begin with `PORTOLAN_`"),
        reason: Reason::Forbidden,
        ..Rule::of(
            "ReservedName",
            WORKLOADS,
            test,
            "{key} is a name that Portolan sets itself",
        )
    }
}

/// A share is one of something.
const fn limit(test: Test, hint: &'static str) -> Rule {
    Rule {
        field: "scale.on",
        hint: Some(hint),
        reason: Reason::Required,
        ..Rule::of(
            "ScaleWithoutLimit",
            SERVICES,
            test,
            "{name} scales by its share of a limit that it does not have",
        )
    }
}

const fn port_of(test: Test, field: &'static str) -> Rule {
    Rule {
        field,
        hint: Some("add `port` to the probe"),
        reason: Reason::Required,
        cause: Some("there is no port with the protocol `http` beside it"),
        ..Rule::of(
            "ProbePort",
            WITH_HEALTH,
            test,
            "{around} does not say which port to ask",
        )
    }
}

/// A time in which something happens is longer than nothing.
const fn lasts(places: &'static [&'static str], test: Test, field: &'static str) -> Rule {
    Rule {
        field,
        ..Rule::of("OutOfRange", places, test, "{field} must be longer than nothing")
    }
}

fn both_set(one: &Entry, _: &Entry) -> String {
    format!("both would set `{}_HOST`", one.key.to_uppercase().replace('-', "_"))
}

fn share(rollout: &Node, index: usize) -> u8 {
    let mut shares = shares(rollout, "steps").into_iter();
    shares.find(|(at, _)| *at == index).map_or(0, |(_, share)| share)
}

fn no_growth(rollout: &Node, index: usize) -> Said {
    let share = share(rollout, index);
    let before = shares(rollout, "steps").into_iter().filter(|(at, _)| *at < index);
    let before = before.map(|(_, share)| share).max().unwrap_or_default();
    let (message, hint) = match (share, before) {
        (100, _) => (
            "a step of 100% is no step".to_string(),
            "leave it out: after the last step the new revision gets everything",
        ),
        (_, 0) => (
            "a canary without a share of the connections shows nothing".to_string(),
            GROW,
        ),
        _ => (
            format!("a share of {share}% is not larger than the {before}% before it"),
            GROW,
        ),
    };
    (message, Some(hint.to_string()))
}

const GROW: &str = "shares grow from step to step, from 1% on";
