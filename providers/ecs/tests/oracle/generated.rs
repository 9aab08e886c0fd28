//! Apps and Targets put together at random, from a seed: each choice is good by itself, and some do not go together.

use serde_json::{Value, json};

use crate::apps::{Given, app, target};

/// In the usual set; with `--full` ten times as many.
pub const COUNT: u64 = 40;

/// Numbers that follow from a seed (Marsaglia's xorshift).
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick(&mut self, choices: &[Value]) -> Value {
        choices[self.next() as usize % choices.len()].clone()
    }

    /// One time in so many.
    fn once_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }

    fn maybe(&mut self, into: &mut Value, key: &str, choices: &[Value]) {
        if self.once_in(2) {
            into[key] = self.pick(choices);
        }
    }
}

pub fn given(seed: u64) -> Given {
    let mut seed = Seed(0x9E37_79B9_7F4A_7C15 ^ (seed + 1).wrapping_mul(0xD134_2543_DE82_EF95));
    for _ in 0..8 {
        seed.next();
    }
    let ecs = settings(&mut seed);
    let is_fargate = ecs.get("capacity").is_none_or(|capacity| capacity == "fargate");
    let mut web = service(&mut seed, is_fargate);
    let api = json!({
        "image": "registry.example/api:1", "resources": {"cpu": "250m", "memory": "128Mi"},
        "ports": [{"name": "http", "port": 9000}, {"name": "admin", "port": 9001, "protocol": "tcp"}],
    });
    if seed.once_in(2) {
        web["env"]["API"] = json!("${services.api.url}");
    }
    let mut migrate = json!({ "image": "registry.example/migrate:1", "resources": {"cpu": "100m", "memory": "64Mi"} });
    seed.maybe(&mut migrate, "retries", &[json!(1), json!(5)]);
    seed.maybe(
        &mut migrate,
        "logs",
        &[json!({"maxAge": "48h"}), json!({"maxAge": "9000h"})],
    );
    if seed.once_in(3) {
        migrate["env"] = json!({ "API": "${services.api.host}" });
    }
    let mut nightly = json!({ "image": "registry.example/nightly:1", "resources": {"cpu": "1", "memory": "1Gi"} });
    nightly["schedule"] = seed.pick(&[
        json!("0 3 * * *"),
        json!("*/15 9-17 * * mon-fri"),
        json!("0 0 1,15 * *"),
    ]);
    seed.maybe(
        &mut nightly,
        "timeZone",
        &[json!("Europe/Berlin"), json!("America/Argentina/ComodRivadavia")],
    );
    let spec = json!({ "services": {"web": web, "api": api}, "jobs": {"migrate": migrate, "nightly": nightly} });
    Given { app: app(spec), ecs }
}

fn settings(seed: &mut Seed) -> Value {
    let mut ecs = target();
    if seed.once_in(4) {
        ecs["capacity"] = seed.pick(&[json!("ec2"), json!("managedInstances")]);
        ecs["capacityProviders"] = json!([{"name": "mine", "weight": 1}]);
    } else {
        let spot = json!([{"name": "FARGATE", "base": 1}, {"name": "FARGATE_SPOT", "weight": 3}]);
        seed.maybe(&mut ecs, "capacityProviders", &[spot]);
        seed.maybe(&mut ecs, "publicAddress", &[json!(true)]);
    }
    seed.maybe(&mut ecs, "zoneRebalancing", &[json!(false)]);
    seed.maybe(&mut ecs, "executeCommand", &[json!(true)]);
    seed.maybe(&mut ecs, "failedTasks", &[json!(1), json!(5)]);
    seed.maybe(&mut ecs, "alarms", &[json!(["too-slow"])]);
    seed.maybe(&mut ecs, "secretStore", &[json!("parameterStore")]);
    seed.maybe(&mut ecs, "openFiles", &[json!(65536)]);
    let role = "arn:aws:iam::123456789012:role/ours";
    seed.maybe(
        &mut ecs,
        "permissionsBoundary",
        &[json!("arn:aws:iam::123456789012:policy/bound")],
    );
    if seed.once_in(4) {
        ecs["roles"] = json!({ "execution": role, "task": role, "scheduler": role, "loadBalancer": role });
    }
    let router =
        json!({ "image": "public.ecr.aws/aws-observability/aws-for-fluent-bit:3", "options": {"Name": "stdout"} });
    if seed.once_in(3) {
        ecs["logs"] = json!({ "retentionDays": 45, "fireLens": router });
    }
    ecs
}

fn service(seed: &mut Seed, is_fargate: bool) -> Value {
    let mut web = json!({
        "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop/web:1",
        "ports": [{"name": "http", "port": 8080}],
        "resources": {"cpu": "500m", "memory": "256Mi"},
        "env": {"MODE": "quiet", "EMPTY": ""},
    });
    if is_fargate {
        web["resources"] = seed.pick(&[
            json!({}),
            json!({"cpu": "3", "memory": "5Gi"}),
            json!({"memory": "48Mi"}),
        ]);
    } else if seed.once_in(3) {
        web["resources"]["gpu"] = json!({ "count": 1 });
    }
    seed.maybe(
        &mut web,
        "secrets",
        &[json!({"TOKEN": {"name": "prod/api", "key": "token"}, "ALL": {"name": "whole"}})],
    );
    seed.maybe(
        &mut web,
        "files",
        &[json!([{"path": "/etc/app/a.toml", "content": "a = 'b'\n"}, {"path": "/etc/app/b/c", "content": ""}])],
    );
    seed.maybe(
        &mut web,
        "scale",
        &[
            json!({"min": 3}),
            json!({"min": 0, "max": 9, "on": [{"cpu": "60%"}, {"memory": "70%"}]}),
        ],
    );
    seed.maybe(&mut web, "user", &[json!("1000:1000"), json!("app")]);
    seed.maybe(&mut web, "stop", &[json!({"drain": "0s", "gracePeriod": "90s"})]);
    seed.maybe(&mut web, "workingDir", &[json!("/srv")]);
    reached(seed, &mut web);
    seed.maybe(&mut web, "health", &[
        json!({"live": {"exec": {"command": ["/bin/true"]}}, "ready": {"http": {"path": "/ready?a=b"}, "interval": "2s"}}),
        json!({"startup": {"tcp": {"port": 8080}, "threshold": 20}, "live": {"http": {"path": "/live"}, "timeout": "90ms"}}),
    ]);
    let proxy = json!({
        "image": "registry.example/proxy:1", "ports": [{"name": "stats", "port": 9100}],
        "resources": {"cpu": "100m", "memory": "32Mi"}, "health": {"live": {"tcp": {"port": 9100}}},
    });
    seed.maybe(&mut web, "sidecars", &[json!({"proxy": proxy})]);
    let seeds = json!([{"name": "seed", "command": ["/seed"], "resources": {"cpu": "50m", "memory": "32Mi"}}, {"name": "warm", "image": "registry.example/warm:1", "resources": {"cpu": "50m", "memory": "32Mi"}}]);
    seed.maybe(&mut web, "init", &[seeds]);
    web
}

/// Volumes, or a rollout in which two revisions stand beside each other; and what leads to it.
fn reached(seed: &mut Seed, web: &mut Value) {
    let hosts = |count: usize| {
        (0..count)
            .map(|at| json!({"host": format!("h{at}.example.com")}))
            .collect::<Value>()
    };
    if seed.once_in(3) {
        web["volumes"] = seed.pick(&[
            json!([{"name": "data", "path": "/data"}]),
            json!([{"name": "data", "path": "/data", "readOnly": true}]),
        ]);
        seed.maybe(
            web,
            "domains",
            &[hosts(7), json!([{"host": "*.example.com", "tls": "none"}])],
        );
        return;
    }
    let step = |weight: u8| json!({"weight": format!("{weight}%"), "pause": "90s"});
    web["rollout"] = seed.pick(&[
        json!({"strategy": "rolling", "deadline": "5m"}),
        json!({"strategy": "recreate"}),
        json!({"strategy": "blueGreen"}),
        json!({"strategy": "blueGreen", "steps": [{"weight": "0%"}]}),
        json!({"strategy": "canary", "steps": [step(7)]}),
        json!({"strategy": "canary", "steps": [step(20), step(40), step(60), step(80)]}),
    ]);
    seed.maybe(web, "domains", &[hosts(1), hosts(3)]);
    if web.get("domains").is_none() && seed.once_in(2) {
        let protocol = seed.pick(&[json!("http"), json!("tcp")]);
        web["ports"] = json!([{"name": "http", "port": 8080, "public": true, "protocol": protocol}]);
    }
}
