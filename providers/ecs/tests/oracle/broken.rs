//! For each rule something that breaks it: a manifest or a Target where one can say it, else a request that was changed by hand.

use std::collections::BTreeMap;

use portolan_core::fault::Fault;
use portolan_provider_ecs::rules::{RULES, Subject};
use serde_json::{Value, json};

use crate::apps::{Given, app, target};
use crate::judge::{Case, Request, closed, settings};

/// How a rule is broken.
pub enum How {
    /// By an app and the settings of a Target.
    Said(fn(&mut Value, &mut Value)),
    /// By a task definition and a service that nobody here renders.
    Forced(fn(&mut Value, &mut Value)),
}

use How::{Forced, Said};

/// What neither the models nor the linter know: the rule names the page of Amazon's that says it.
pub const NOT_KNOWN_TO_THE_ORACLE: &[&str] = &[
    "containers ask for no more than their task has",
    "outside of Fargate somebody says how much memory there is",
    "a container has 6 MiB or more",
    "a port is mapped once in a task",
    "names of containers differ",
    "a task has ten containers at most",
    "a task definition has 64 KiB at most",
    "what a container waits for is there",
    "containers wait for each other in no circle",
    "what is waited for to its end is not essential",
    "what is waited for to be healthy has a check",
    "a check is within its bounds",
    "a container ends within two minutes on Fargate",
    "no GPU is on Fargate",
    "secrets and logs of CloudWatch need a role",
    "what is mounted is a volume of the task",
    "a container is started again after a minute or more",
    "public addresses are Fargate's",
    "capacity is said in one way",
    "providers are of the capacity that is said",
    "a load balancer leads to a port of the task",
    "five target groups lead to a service at most",
    "names lead to ports of the task",
    "a circuit breaker belongs to a rolling update",
    "zones are balanced where there is room for one more",
    "a deployment can go on",
];

pub const BREAKS: &[(&str, How)] = &[
    (
        "a task on Fargate has one of Fargate's sizes",
        Forced(|task, _| task["memory"] = json!("9999")),
    ),
    (
        "containers ask for no more than their task has",
        Forced(|task, _| task["containerDefinitions"][0]["cpu"] = json!(4096)),
    ),
    (
        "outside of Fargate somebody says how much memory there is",
        Said(|web, ecs| {
            ecs["capacity"] = json!("ec2");
            web["resources"] = json!({});
        }),
    ),
    (
        "a container has 6 MiB or more",
        Said(|web, _| web["resources"]["memory"] = json!("1Mi")),
    ),
    (
        "one container at least is essential",
        Forced(|task, _| each_container(task, |one| one["essential"] = json!(false))),
    ),
    (
        "tasks on Fargate have addresses of their own",
        Forced(|task, _| task["networkMode"] = json!("bridge")),
    ),
    (
        "a port of the host is the container's",
        Forced(|task, _| task["containerDefinitions"][0]["portMappings"][0]["hostPort"] = json!(81)),
    ),
    (
        "a port is mapped once in a task",
        Forced(|task, _| {
            let port = task["containerDefinitions"][0]["portMappings"][0].clone();
            task["containerDefinitions"][1]["portMappings"] = json!([port]);
        }),
    ),
    (
        "names of containers differ",
        Forced(|task, _| task["containerDefinitions"][1]["name"] = json!("web")),
    ),
    (
        "a task has ten containers at most",
        Said(|web, _| {
            let sidecar = json!({ "image": "registry.example/one:1" });
            let sidecars = (0..10).map(|at| (format!("s{at}"), sidecar.clone()));
            web["sidecars"] = Value::Object(sidecars.collect());
        }),
    ),
    (
        "a task definition has 64 KiB at most",
        Said(|web, _| web["env"]["MANY"] = json!("x".repeat(70 << 10))),
    ),
    (
        "what a container waits for is there",
        Forced(|task, _| wait(task, 0, "nobody", "START")),
    ),
    (
        "containers wait for each other in no circle",
        Forced(|task, _| {
            wait(task, 0, "proxy", "START");
            wait(task, 1, "web", "START");
        }),
    ),
    (
        "what is waited for to its end is not essential",
        Forced(|task, _| {
            task["containerDefinitions"][1]["essential"] = json!(true);
            wait(task, 0, "proxy", "SUCCESS");
        }),
    ),
    (
        "what is waited for to be healthy has a check",
        Forced(|task, _| wait(task, 0, "proxy", "HEALTHY")),
    ),
    (
        "a check is within its bounds",
        Said(|web, _| {
            web["health"] =
                json!({"live": {"tcp": {"port": 8080}, "interval": "10m", "timeout": "2m", "threshold": 20}});
        }),
    ),
    (
        "a container ends within two minutes on Fargate",
        Said(|web, _| web["stop"] = json!({ "gracePeriod": "5m" })),
    ),
    (
        "no GPU is on Fargate",
        Said(|web, _| web["resources"]["gpu"] = json!({ "count": 1 })),
    ),
    (
        "logs go where Fargate lets them",
        Forced(|task, _| {
            each_container(task, |one| {
                one["logConfiguration"] = json!({ "logDriver": "journald", "options": {} })
            })
        }),
    ),
    (
        "logs of CloudWatch have a group and a region",
        Forced(|task, _| {
            each_container(task, |one| {
                one["logConfiguration"]["options"] = json!({ "mode": "blocking" })
            })
        }),
    ),
    (
        "secrets and logs of CloudWatch need a role",
        Forced(|task, _| drop(task.as_object_mut().unwrap().remove("executionRoleArn"))),
    ),
    (
        "what is mounted is a volume of the task",
        Forced(|task, _| {
            let mount = json!({ "sourceVolume": "nothing", "containerPath": "/data", "readOnly": true });
            task["containerDefinitions"][0]["mountPoints"] = json!([mount]);
        }),
    ),
    (
        "a container is started again after a minute or more",
        Forced(|task, _| task["containerDefinitions"][1]["restartPolicy"]["restartAttemptPeriod"] = json!(5)),
    ),
    (
        "nothing runs once on each machine on Fargate",
        Forced(|_, service| service["schedulingStrategy"] = json!("DAEMON")),
    ),
    (
        "a service with addresses of its own says where",
        Forced(|_, service| drop(service.as_object_mut().unwrap().remove("networkConfiguration"))),
    ),
    (
        "public addresses are Fargate's",
        Said(|_, ecs| {
            ecs["capacity"] = json!("ec2");
            ecs["publicAddress"] = json!(true);
        }),
    ),
    (
        "capacity is said in one way",
        Said(|_, ecs| ecs["capacity"] = json!("managedInstances")),
    ),
    (
        "providers are of the capacity that is said",
        Said(|_, ecs| ecs["capacityProviders"] = json!([{ "name": "mine" }])),
    ),
    (
        "a load balancer leads to a port of the task",
        Forced(|_, service| service["loadBalancers"][0]["containerPort"] = json!(9)),
    ),
    (
        "five target groups lead to a service at most",
        Said(|web, _| {
            let port = |number: u16| json!({ "name": format!("p{number}"), "port": number, "public": true });
            web["ports"] = (8080..8086).map(port).collect();
        }),
    ),
    (
        "names lead to ports of the task",
        Forced(|_, service| service["serviceConnectConfiguration"]["services"][0]["portName"] = json!("nothing")),
    ),
    (
        "a share grows within its bounds",
        Said(|web, _| {
            web["rollout"] = json!({ "strategy": "canary", "steps": [{"weight": "10%", "pause": "48h"}] });
        }),
    ),
    (
        "a circuit breaker belongs to a rolling update",
        Forced(|_, service| {
            service["deploymentConfiguration"]["strategy"] = json!("BLUE_GREEN");
            service["deploymentConfiguration"]["bakeTimeInMinutes"] = json!(0);
        }),
    ),
    (
        "zones are balanced where there is room for one more",
        Forced(|_, service| {
            service["deploymentConfiguration"]["maximumPercent"] = json!(100);
            service["deploymentConfiguration"]["minimumHealthyPercent"] = json!(0);
        }),
    ),
    (
        "a deployment can go on",
        Forced(|_, service| {
            service["deploymentConfiguration"]["maximumPercent"] = json!(100);
            service["availabilityZoneRebalancing"] = json!("DISABLED");
        }),
    ),
];

fn each_container(task: &mut Value, change: fn(&mut Value)) {
    task["containerDefinitions"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(change);
}

fn wait(task: &mut Value, container: usize, of: &str, condition: &str) {
    task["containerDefinitions"][container]["dependsOn"] = json!([{ "containerName": of, "condition": condition }]);
}

/// What the rule says, and the requests by force.
pub fn broken(says: &str, how: &How) -> (Vec<Fault>, Case) {
    let mut web = web();
    let mut ecs = target();
    if let Said(change) = how {
        change(&mut web, &mut ecs);
    }
    let other = json!({ "image": "registry.example/other:1", "resources": {"memory": "64Mi"}, "env": {"WEB": "${services.web.url}"} });
    let spec = json!({ "services": { "web": web, "other": other } });
    let rendered = Given {
        app: app(spec),
        ecs: ecs.clone(),
    }
    .rendered();
    let of_web = |kind: &str| {
        let mut found = rendered.resources.values();
        found
            .find(|one| one.id.kind == kind && one.origin == "/spec/services/web")
            .unwrap()
    };
    let (definition, made) = (of_web("TaskDefinition"), of_web("Service"));
    let (mut task, mut service) = (definition.body.clone(), made.body.clone());
    if let Forced(change) = how {
        change(&mut task, &mut service);
    }
    let faults = match how {
        Said(_) => rendered.faults.clone(),
        Forced(_) => Vec::new(),
    };
    let of_rule = faults_of(says, &task, &service, &ecs);
    for fault in &of_rule {
        assert!(
            matches!(how, Forced(_)) || faults.contains(fault),
            "{says}: a rendering tells it: {faults:#?}"
        );
    }
    let requests = vec![
        Request::of(&definition.id, "ecs", "RegisterTaskDefinition", closed(&task)),
        Request::of(&made.id, "ecs", "CreateService", closed(&service)),
    ];
    let name = says.to_string();
    (of_rule, Case { name, requests })
}

fn faults_of(says: &str, task: &Value, service: &Value, ecs: &Value) -> Vec<Fault> {
    let rule = RULES.iter().find(|rule| rule.says == says).unwrap();
    let origin = "/spec/services/web";
    let places = [
        ("web", origin.to_string()),
        ("proxy", format!("{origin}/sidecars/proxy")),
    ];
    let places: BTreeMap<String, String> = places.map(|(name, place)| (name.to_string(), place)).into();
    rule.faults(&Subject {
        target: &settings(ecs),
        origin,
        places: &places,
        task: &serde_json::from_value(task.clone()).unwrap(),
        service: Some(&serde_json::from_value(service.clone()).unwrap()),
    })
}

/// With a sidecar that nobody asks after, a secret, and a public port.
fn web() -> Value {
    json!({
        "image": "registry.example/web:1",
        "ports": [{ "name": "http", "port": 8080, "public": true }],
        "resources": { "cpu": "500m", "memory": "256Mi" },
        "env": { "MODE": "quiet" },
        "secrets": { "TOKEN": { "name": "api", "key": "token" } },
        "sidecars": { "proxy": { "image": "registry.example/proxy:1", "resources": {"memory": "32Mi"} } },
    })
}
