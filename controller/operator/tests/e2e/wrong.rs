//! Wrong Apps and Targets, each with its one fault: what the parser calls it, where it is, and who refuses it.

use portolan_core::rules::{app_rules, target_rules};
use serde_json::{Value, json};

use crate::world::{app, target};

/// Who is the first to refuse it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum By {
    /// The API server, by types, limits and words of the schema: how it says so.
    Schema(&'static str),
    /// The API server, by a rule of the definition.
    Rule,
    /// Nobody before the webhook, or the status: what has to be looked for in the whole App, or letter by letter.
    Reader,
}

pub struct Wrong {
    pub reason: &'static str,
    pub object: Value,
    pub code: &'static str,
    /// As the parser says it.
    pub place: &'static str,
    pub by: By,
}

impl Wrong {
    /// The place as the API server may say it: a rule has one field for all items of a list and all keys of a map.
    pub fn is_at(&self, told: &str) -> bool {
        let plain = |place: &str| place.replace(['[', ']', '"', '\''], ".").replace("..", ".");
        let [place, told] = [self.place, told].map(|place| plain(place).trim_matches('.').to_string());
        // Of a field that is missing one names the place where it should be, and the other the field itself.
        let is_missing = self.code == "MissingField" && told.starts_with(&format!("{place}."));
        place == told || is_missing || (self.by == By::Rule && place.starts_with(&format!("{told}.")))
    }

    /// What the API server says by a rule of that code.
    pub fn rules(&self) -> Vec<String> {
        let all = app_rules().iter().chain(target_rules());
        let mut words: Vec<String> = all
            .filter(|rule| rule.code == self.code)
            .map(|rule| rule.words())
            .collect();
        // Of keys there is no rule of core's, but a grammar.
        if self.code == "InvalidName" {
            let grammar = &portolan_core::manifest::grammar::NAME;
            words.push(format!(
                "InvalidName: a key is not {}; hint: {}",
                grammar.what, grammar.rule
            ));
        }
        words
    }
}

/// An App of one service, which is good but for these fields.
fn service(fields: Value) -> Value {
    let mut wrong = app("wrong", 1);
    let service = &mut wrong["spec"]["services"]["web"];
    service.as_object_mut().unwrap().remove("scale");
    for (name, value) in fields.as_object().unwrap() {
        service[name] = value.clone();
    }
    if service["image"].is_null() {
        service.as_object_mut().unwrap().remove("image");
    }
    wrong
}

/// An App with these fields beside its service.
fn spec(fields: Value) -> Value {
    let mut wrong = service(json!({}));
    for (name, value) in fields.as_object().unwrap() {
        wrong["spec"][name] = value.clone();
    }
    wrong
}

fn job(fields: Value) -> Value {
    let mut job = json!({ "image": "registry.example/job:1" });
    for (name, value) in fields.as_object().unwrap() {
        job[name] = value.clone();
    }
    spec(json!({ "jobs": { "migrate": job } }))
}

fn bindings(bindings: Value) -> Value {
    let mut wrong = target("wrong");
    wrong["spec"]["bindings"] = bindings;
    wrong
}

pub fn all() -> Vec<Wrong> {
    let image = "registry.example/web:1";
    let wrong = |reason, object, code, place, by| Wrong {
        reason,
        object,
        code,
        place,
        by,
    };
    let canary = |steps: Value| service(json!({ "rollout": { "strategy": "canary", "steps": steps } }));
    let (number, missing) = (By::Schema("must be of type integer"), By::Schema("Required value"));
    let (pattern, word) = (By::Schema("should match"), By::Schema("Unsupported value"));
    let twice = By::Schema("Duplicate value");
    vec![
        // Shape.
        wrong(
            "a text for a number",
            service(json!({ "ports": [{ "name": "http", "port": "many" }] })),
            "WrongType",
            "spec.services.web.ports[0].port",
            number,
        ),
        wrong(
            "a field that is missing",
            service(json!({ "ports": [{ "name": "http", "port": 80 }], "volumes": [{ "name": "data" }] })),
            "MissingField",
            "spec.services.web.volumes[0]",
            missing,
        ),
        wrong(
            "a port beyond the last one",
            service(json!({ "ports": [{ "name": "http", "port": 70000 }] })),
            "OutOfRange",
            "spec.services.web.ports[0].port",
            By::Schema("less than or equal to 65535"),
        ),
        wrong(
            "a number below nothing",
            service(json!({ "scale": { "min": -1 } })),
            "OutOfRange",
            "spec.services.web.scale.min",
            By::Schema("greater than or equal to 0"),
        ),
        wrong(
            "a word that is none of ours",
            service(json!({ "rollout": { "strategy": "quick" } })),
            "InvalidValue",
            "spec.services.web.rollout.strategy",
            word,
        ),
        wrong(
            "a duration without its unit",
            service(json!({ "stop": { "gracePeriod": "thirty" } })),
            "InvalidDuration",
            "spec.services.web.stop.gracePeriod",
            pattern,
        ),
        wrong(
            "a duration longer than any",
            service(json!({ "stop": { "gracePeriod": format!("{}s", "0".repeat(40)) } })),
            "TooLong",
            "spec.services.web.stop.gracePeriod",
            By::Schema("Too long"),
        ),
        wrong(
            "memory in a unit that is none",
            service(json!({ "resources": { "memory": "256mb" } })),
            "InvalidQuantity",
            "spec.services.web.resources.memory",
            pattern,
        ),
        wrong(
            "an image that cannot be one",
            service(json!({ "image": "registry.example/Shop Web" })),
            "InvalidImageReference",
            "spec.services.web.image",
            pattern,
        ),
        wrong(
            "a path from nowhere",
            service(json!({ "workingDir": "app" })),
            "InvalidPath",
            "spec.services.web.workingDir",
            pattern,
        ),
        wrong(
            "a domain of one part",
            service(json!({ "domains": [{ "host": "Shop" }] })),
            "InvalidDomain",
            "spec.services.web.domains[0].host",
            pattern,
        ),
        wrong(
            "a port's name that is none",
            service(json!({ "ports": [{ "name": "HTTP", "port": 80 }] })),
            "InvalidName",
            "spec.services.web.ports[0].name",
            pattern,
        ),
        wrong(
            "a list without an item",
            spec(json!({ "targets": [] })),
            "EmptyValue",
            "spec.targets",
            By::Schema("should have at least 1 items"),
        ),
        wrong(
            "a command without a word",
            service(json!({ "command": [] })),
            "EmptyValue",
            "spec.services.web.command",
            By::Schema("should have at least 1 items"),
        ),
        wrong(
            "more steps than any canary takes",
            canary((1..18).map(|share| json!({ "weight": format!("{share}%") })).collect()),
            "TooMany",
            "spec.services.web.rollout.steps",
            By::Schema("Too many"),
        ),
        wrong(
            "one target twice",
            spec(json!({ "targets": ["here", "here"] })),
            "DuplicateName",
            "spec.targets[1]",
            twice,
        ),
        wrong(
            "one volume's path twice",
            service(json!({ "volumes": [{ "name": "one", "path": "/data" }, { "name": "two", "path": "/data" }] })),
            "DuplicatePath",
            "spec.services.web.volumes[1]",
            twice,
        ),
        wrong(
            "a schedule that is no schedule",
            job(json!({ "schedule": "@daily" })),
            "InvalidSchedule",
            "spec.jobs.migrate.schedule",
            pattern,
        ),
        // Rules.
        wrong(
            "neither services nor jobs",
            json!({
                "apiVersion": "portolan.dev/v1alpha1", "kind": "App",
                "metadata": { "name": "wrong", "namespace": "team" }, "spec": { "targets": ["here"] },
            }),
            "EmptyApp",
            "spec",
            By::Rule,
        ),
        wrong(
            "no image",
            service(json!({ "image": null })),
            "NoImage",
            "spec.services.web",
            By::Rule,
        ),
        wrong(
            "an image and a build",
            service(json!({ "build": { "context": "." } })),
            "BuildAndImage",
            "spec.services.web.image",
            By::Rule,
        ),
        wrong(
            "a sidecar without an image",
            service(json!({ "sidecars": { "proxy": { "command": ["proxy"] } } })),
            "NoImage",
            "spec.services.web.sidecars.proxy",
            By::Rule,
        ),
        wrong(
            "fewer at most than at least",
            service(json!({ "scale": { "min": 3, "max": 2 } })),
            "OutOfRange",
            "spec.services.web.scale.max",
            By::Rule,
        ),
        wrong(
            "a number that moves without an end",
            service(json!({ "resources": { "cpu": 1 }, "scale": { "on": [{ "cpu": "70%" }] } })),
            "ScaleWithoutMax",
            "spec.services.web.scale.on",
            By::Rule,
        ),
        wrong(
            "a share of no limit",
            service(json!({ "scale": { "max": 3, "on": [{ "cpu": "70%" }] } })),
            "ScaleWithoutLimit",
            "spec.services.web.scale.on[0].cpu",
            By::Rule,
        ),
        wrong(
            "from nothing, by what only a replica has",
            service(json!({ "resources": { "cpu": 1 }, "scale": { "min": 0, "max": 3, "on": [{ "cpu": "70%" }] } })),
            "ScaleFromNothing",
            "spec.services.web.scale.on",
            By::Rule,
        ),
        wrong(
            "two things to scale by in one",
            service(json!({
                "resources": { "cpu": 1, "memory": "1Gi" },
                "scale": { "max": 3, "on": [{ "cpu": "70%", "memory": "70%" }] },
            })),
            "ScaleMetric",
            "spec.services.web.scale.on[0].memory",
            By::Rule,
        ),
        wrong(
            "nothing to scale by",
            service(json!({ "scale": { "max": 3, "on": [{}] } })),
            "ScaleMetric",
            "spec.services.web.scale.on[0]",
            By::Rule,
        ),
        wrong(
            "steps that shrink",
            canary(json!([{ "weight": "50%" }, { "weight": "20%" }])),
            "RolloutSteps",
            "spec.services.web.rollout.steps[1].weight",
            By::Rule,
        ),
        wrong(
            "a step of everything",
            canary(json!([{ "weight": "50%" }, { "weight": "100%" }])),
            "RolloutSteps",
            "spec.services.web.rollout.steps[1].weight",
            By::Rule,
        ),
        wrong(
            "a canary without steps",
            service(json!({ "rollout": { "strategy": "canary" } })),
            "RolloutSteps",
            "spec.services.web.rollout",
            By::Rule,
        ),
        wrong(
            "steps that nobody takes",
            service(json!({ "rollout": { "steps": [{ "weight": "10%" }] } })),
            "RolloutSteps",
            "spec.services.web.rollout.steps",
            By::Rule,
        ),
        wrong(
            "a share before the switch",
            service(json!({ "rollout": { "strategy": "blueGreen", "steps": [{ "weight": "10%" }] } })),
            "RolloutSteps",
            "spec.services.web.rollout.steps[0].weight",
            By::Rule,
        ),
        wrong(
            "no time at all",
            service(json!({ "rollout": { "deadline": "0s" } })),
            "OutOfRange",
            "spec.services.web.rollout.deadline",
            By::Rule,
        ),
        wrong(
            "a probe that asks nothing",
            service(json!({ "health": { "ready": { "interval": "1s" } } })),
            "ProbeAction",
            "spec.services.web.health.ready",
            By::Rule,
        ),
        wrong(
            "a probe that asks two things",
            service(json!({ "health": { "live": { "tcp": { "port": 8080 }, "exec": { "command": ["true"] } } } })),
            "ProbeAction",
            "spec.services.web.health.live.tcp",
            By::Rule,
        ),
        wrong(
            "a probe of no port",
            service(json!({
                "ports": [{ "name": "db", "port": 5432, "protocol": "tcp" }], "health": { "ready": { "http": {} } },
            })),
            "ProbePort",
            "spec.services.web.health.ready.http",
            By::Rule,
        ),
        wrong(
            "a domain that leads nowhere",
            service(json!({
                "ports": [{ "name": "db", "port": 5432, "protocol": "tcp" }], "domains": [{ "host": "shop.example.com" }],
            })),
            "DomainPort",
            "spec.services.web.domains",
            By::Rule,
        ),
        wrong(
            "a variable and a secret of one name",
            service(json!({ "env": { "KEY": "1" }, "secrets": { "KEY": { "name": "key", "key": "value" } } })),
            "DuplicateName",
            "spec.services.web.secrets.KEY",
            By::Rule,
        ),
        wrong(
            "a name that is ours",
            service(json!({ "env": { "PORTOLAN_APP": "x" } })),
            "ReservedName",
            "spec.services.web.env.PORTOLAN_APP",
            By::Rule,
        ),
        wrong(
            "logs too small for a line",
            service(json!({ "logs": { "maxSize": "64Ki" } })),
            "OutOfRange",
            "spec.services.web.logs.maxSize",
            By::Rule,
        ),
        wrong(
            "too small by a little, in another unit",
            service(json!({ "logs": { "maxSize": "131k" } })),
            "OutOfRange",
            "spec.services.web.logs.maxSize",
            By::Rule,
        ),
        wrong(
            "a job with the name of a service",
            spec(json!({ "jobs": { "web": { "image": image } } })),
            "DuplicateName",
            "spec.jobs.web",
            By::Rule,
        ),
        wrong(
            "a time zone without a schedule",
            job(json!({ "timeZone": "UTC" })),
            "ScheduleMissing",
            "spec.jobs.migrate.timeZone",
            By::Rule,
        ),
        wrong(
            "an override of what it does not go to",
            spec(json!({ "overrides": { "elsewhere": {} } })),
            "UnknownTarget",
            "spec.overrides.elsewhere",
            By::Rule,
        ),
        wrong(
            "datagrams between apps",
            spec(json!({ "uses": { "stock": { "app": "other", "service": "api", "port": 1, "protocol": "udp" } } })),
            "SharedUdp",
            "spec.uses.stock.protocol",
            By::Rule,
        ),
        wrong(
            "replicas of several services",
            spec(json!({
                "replicas": 2, "services": { "web": { "image": image }, "admin": { "image": image } },
            })),
            "ReplicasUnclear",
            "spec.replicas",
            By::Rule,
        ),
        wrong(
            "a service's name that is none",
            spec(json!({ "services": { "Web_Server": { "image": image } } })),
            "InvalidName",
            "spec.services.Web_Server",
            By::Rule,
        ),
        wrong(
            "a binding of two values",
            bindings(json!({ "db": { "url": { "value": "postgres://db", "secret": { "name": "db" } } } })),
            "BindingValue",
            "spec.bindings.db.url",
            By::Rule,
        ),
        wrong(
            "a binding's key that is none",
            bindings(json!({ "db": { "uri": { "value": "postgres://db" } } })),
            "UnknownKey",
            "spec.bindings.db.uri",
            By::Rule,
        ),
        wrong(
            "two places for secrets",
            {
                let mut wrong = target("wrong");
                wrong["spec"]["kubernetes"] =
                    json!({ "secretStore": { "name": "vault" }, "secretProviderClass": "vault" });
                wrong
            },
            "SecretSources",
            "spec.kubernetes.secretStore",
            By::Rule,
        ),
        wrong(
            "a cluster of Amazon's that nobody names",
            {
                let mut wrong = target("wrong");
                wrong["spec"] = json!({ "provider": "ecs" });
                wrong
            },
            "TargetIncomplete",
            "spec.provider",
            By::Rule,
        ),
        // What has to be looked for in the whole App, or is more than a pattern can say.
        wrong(
            "what waits for itself",
            service(json!({ "after": ["web"] })),
            "DependencyCycle",
            "spec.services.web.after[0]",
            By::Reader,
        ),
        wrong(
            "what waits for nothing that is there",
            service(json!({ "after": ["nobody"] })),
            "UnknownDependency",
            "spec.services.web.after[0]",
            By::Reader,
        ),
        wrong(
            "a reference to nothing",
            service(json!({ "env": { "URL": "${services.wbe.url}" } })),
            "UnknownReference",
            "spec.services.web.env.URL",
            By::Reader,
        ),
        wrong(
            "a queue of no binding",
            service(json!({ "scale": { "max": 3, "on": [{ "queue": { "binding": "orders", "length": 1 } }] } })),
            "UnknownBinding",
            "spec.services.web.scale.on[0].queue.binding",
            By::Reader,
        ),
        wrong(
            "one port twice",
            service(json!({ "ports": [{ "name": "a", "port": 80 }, { "name": "b", "port": 80 }] })),
            "DuplicatePort",
            "spec.services.web.ports[1].port",
            By::Reader,
        ),
        wrong(
            "a service's name with a letter in it that no name has",
            spec(json!({ "services": { "web_server": { "image": image } } })),
            "InvalidName",
            "spec.services.web_server",
            By::Reader,
        ),
        wrong(
            "a variable's name that is none",
            service(json!({ "env": { "2FAST": "1" } })),
            "InvalidName",
            "spec.services.web.env.2FAST",
            By::Reader,
        ),
        wrong(
            "more processors than there are",
            service(json!({ "resources": { "cpu": "99999999999" } })),
            "InvalidQuantity",
            "spec.services.web.resources.cpu",
            By::Reader,
        ),
    ]
}
