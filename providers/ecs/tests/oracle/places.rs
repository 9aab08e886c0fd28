//! Where things of a manifest are found in the requests.

use portolan_provider_ecs::Rendered;
use serde_json::{Value, json};

use crate::apps::{Given, app, target};

fn rendered(web: Value, ecs: Value) -> Rendered {
    let spec = json!({ "services": { "web": web } });
    Given { app: app(spec), ecs }.rendered()
}

fn web(extra: Value) -> Value {
    let mut web = json!({ "image": "registry.example/web:1", "ports": [{"name": "http", "port": 8080}] });
    for (key, value) in extra.as_object().cloned().unwrap_or_default() {
        web[key] = value;
    }
    web
}

fn one<'a>(rendered: &'a Rendered, kind: &str) -> Option<&'a Value> {
    let mut all = rendered.resources.values().filter(|one| one.id.kind == kind);
    all.next().map(|one| &one.body)
}

fn at(rendered: &Rendered, kind: &str, pointer: &str) -> Value {
    let body = one(rendered, kind);
    body.and_then(|body| body.pointer(pointer)).cloned().unwrap_or_default()
}

#[test]
fn containers_start_in_the_manifests_order() {
    let plain = json!({ "image": "registry.example/one:1" });
    let asked = json!({ "image": "registry.example/one:1", "health": {"live": {"exec": {"command": ["/up"]}}} });
    let init = json!([{ "name": "first", "command": ["/a"] }, { "name": "second", "command": ["/b"] }]);
    let rendered = rendered(
        web(json!({ "sidecars": {"plain": plain, "asked": asked}, "init": init })),
        target(),
    );
    let containers = at(&rendered, "TaskDefinition", "/containerDefinitions");
    let of = |name: &str| {
        let mut all = containers.as_array().unwrap().iter();
        all.find(|one| one["name"] == name).unwrap().clone()
    };
    let waits = |name: &str| -> Vec<(String, String)> {
        let of = of(name);
        let waits = of["dependsOn"].as_array().cloned().unwrap_or_default();
        let word = |value: &Value| value.as_str().unwrap().to_string();
        waits
            .iter()
            .map(|one| (word(&one["containerName"]), word(&one["condition"])))
            .collect()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, condition)| (name.to_string(), condition.to_string()))
            .collect()
    };
    let sidecars = [("asked", "HEALTHY"), ("plain", "START")];
    for (reason, name, essential, expected) in [
        (
            "the service ends the task, and waits for all",
            "web",
            true,
            [&[("second", "SUCCESS")][..], &sidecars].concat(),
        ),
        ("the first step waits for sidecars", "first", false, sidecars.to_vec()),
        ("the second for the first", "second", false, vec![("first", "SUCCESS")]),
        ("a sidecar waits for nobody", "plain", false, vec![]),
    ] {
        assert_eq!(of(name)["essential"], json!(essential), "{reason}");
        assert_eq!(waits(name), pairs(&expected), "{reason}");
    }
    assert_eq!(
        of("plain")["restartPolicy"]["enabled"],
        json!(true),
        "a sidecar that ends is started again"
    );
    assert_eq!(
        of("web")["restartPolicy"],
        Value::Null,
        "a service that ends is a failed task, which ECS counts"
    );
}

#[test]
fn a_size_is_rounded_up_and_said() {
    for (reason, resources, size, is_said) in [
        ("nothing is asked for", json!({}), ["256", "512"], true),
        (
            "more than the smallest",
            json!({"cpu": "500m", "memory": "1500Mi"}),
            ["512", "2048"],
            true,
        ),
        (
            "it is a size",
            json!({"cpu": "1", "memory": "2Gi"}),
            ["1024", "2048"],
            false,
        ),
    ] {
        let rendered = rendered(web(json!({ "resources": resources })), target());
        let cpu = at(&rendered, "TaskDefinition", "/cpu");
        assert_eq!(
            [cpu, at(&rendered, "TaskDefinition", "/memory")],
            size.map(|text| json!(text)),
            "{reason}"
        );
        let remarks: Vec<&str> = rendered.remarks.iter().map(|one| one.pointer.as_str()).collect();
        let expected: &[&str] = if is_said {
            &["/spec/services/web/resources"]
        } else {
            &[]
        };
        assert_eq!(remarks, expected, "{reason}");
    }
}

#[test]
fn fields_have_their_places() {
    let full = web(json!({
        "secrets": { "TOKEN": {"name": "prod/api", "key": "token"} },
        "domains": [{"host": "shop.example.com"}, {"host": "www.example.com"}],
        "health": { "ready": {"http": {"path": "/ready"}}, "live": {"exec": {"command": ["/up"]}, "interval": "200ms"} },
        "scale": { "min": 2, "max": 5, "on": [{"cpu": "60%"}] }, "resources": {"cpu": "1", "memory": "2Gi"},
        "stop": { "gracePeriod": "20s", "drain": "7s" },
        "rollout": { "strategy": "blueGreen", "steps": [{"weight": "0%"}] },
        "logs": { "maxAge": "200h" },
    }));
    let rendered = rendered(full, target());
    assert!(rendered.faults.is_empty(), "{:#?}", rendered.faults);
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/api";
    let container = "/containerDefinitions/0";
    for (reason, kind, pointer, expected) in [
        (
            "by reference",
            "TaskDefinition",
            "/containerDefinitions/0/secrets/0/valueFrom",
            json!(format!("{arn}:token::")),
        ),
        (
            "ECS ends it so late",
            "TaskDefinition",
            "/containerDefinitions/0/stopTimeout",
            json!(20),
        ),
        (
            "a check of ECS's",
            "TaskDefinition",
            "/containerDefinitions/0/healthCheck/command",
            json!(["CMD", "/up"]),
        ),
        (
            "no more often than that",
            "TaskDefinition",
            "/containerDefinitions/0/healthCheck/interval",
            json!(5),
        ),
        (
            "the load balancer asks",
            "TargetGroup",
            "/HealthCheckPath",
            json!("/ready"),
        ),
        (
            "connections end",
            "TargetGroupAttributes",
            "/Attributes/0/Value",
            json!("7"),
        ),
        (
            "one rule",
            "ListenerRule",
            "/Conditions/0/HostHeaderConfig/Values",
            json!(["shop.example.com", "www.example.com"]),
        ),
        (
            "all to the old one",
            "ListenerRule",
            "/Actions/0/ForwardConfig/TargetGroups/1/Weight",
            json!(0),
        ),
        (
            "beside each other",
            "Service",
            "/deploymentConfiguration/strategy",
            json!("BLUE_GREEN"),
        ),
        (
            "until somebody says so",
            "Service",
            "/deploymentConfiguration/lifecycleHooks/0/timeoutConfiguration/action",
            json!("ROLLBACK"),
        ),
        ("at least", "ScalableTarget", "/MinCapacity", json!(2)),
        (
            "a share",
            "ScalingPolicy",
            "/TargetTrackingScalingPolicyConfiguration/TargetValue",
            json!(60.0),
        ),
        ("nine days are fourteen", "LogRetention", "/retentionInDays", json!(14)),
    ] {
        assert_eq!(at(&rendered, kind, pointer), expected, "{reason}: {kind}{pointer}");
    }
    assert_eq!(
        at(&rendered, "TaskDefinition", &format!("{container}/entryPoint")),
        json!(["/server"])
    );
    let service = one(&rendered, "Service").unwrap();
    let advanced = &service["loadBalancers"][0]["advancedConfiguration"];
    assert!(
        advanced["productionListenerRule"]["$open"]["ref"]["resource"]
            .as_str()
            .unwrap()
            .starts_with("ListenerRule/")
    );
    let policies: Vec<String> = rendered
        .resources
        .values()
        .filter(|one| one.id.kind == "RolePolicy")
        .map(|one| one.body["PolicyDocument"].to_string())
        .collect();
    assert!(
        policies.iter().any(|policy| policy.contains(&format!("{arn}-??????"))),
        "{policies:?}"
    );
    assert!(
        !policies
            .iter()
            .any(|policy| policy.contains("ecr:") || policy.contains("ssmmessages:")),
        "no more than it needs: {policies:?}"
    );
}

#[test]
fn what_a_target_says_makes_other_requests() {
    let spot = json!([{"name": "FARGATE_SPOT"}]);
    let role = "arn:aws:iam::123456789012:role/ours";
    for (reason, setting, value, kind, pointer, expected) in [
        (
            "launched by Fargate",
            "publicAddress",
            json!(false),
            "Service",
            "/launchType",
            json!("FARGATE"),
        ),
        (
            "providers say it",
            "capacityProviders",
            spot,
            "Service",
            "/launchType",
            Value::Null,
        ),
        (
            "so many failures",
            "failedTasks",
            json!(4),
            "Service",
            "/deploymentConfiguration/deploymentCircuitBreaker/thresholdConfiguration/value",
            json!(4),
        ),
        (
            "alarms end it",
            "alarms",
            json!(["slow"]),
            "Service",
            "/deploymentConfiguration/alarms/alarmNames",
            json!(["slow"]),
        ),
        (
            "no other zone",
            "zoneRebalancing",
            json!(false),
            "Service",
            "/availabilityZoneRebalancing",
            json!("DISABLED"),
        ),
        (
            "commands inside",
            "executeCommand",
            json!(true),
            "Service",
            "/enableExecuteCommand",
            json!(true),
        ),
        (
            "a role of theirs",
            "roles",
            json!({"execution": role}),
            "TaskDefinition",
            "/executionRoleArn",
            json!(role),
        ),
        (
            "open files",
            "openFiles",
            json!(4096),
            "TaskDefinition",
            "/containerDefinitions/0/ulimits/0/softLimit",
            json!(4096),
        ),
        (
            "a router",
            "logs",
            json!({"fireLens": {"image": "registry.example/bit:1", "options": {"Name": "stdout"}}}),
            "TaskDefinition",
            "/containerDefinitions/0/logConfiguration/logDriver",
            json!("awsfirelens"),
        ),
    ] {
        let mut ecs = target();
        ecs[setting] = value;
        let rendered = rendered(web(json!({})), ecs);
        assert!(rendered.faults.is_empty(), "{reason}: {:#?}", rendered.faults);
        assert_eq!(at(&rendered, kind, pointer), expected, "{reason}: {setting}");
    }
}
