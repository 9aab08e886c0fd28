//! What stands beside the pods: domains, policies, what scales them, their GPUs and their schedule.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use portolan_core::manifest::{GatewayReference, GpuAccess, HumanDuration, SecretStore, SecretStoreKind};
use portolan_core::resource::Resource;

use super::*;
use crate::Choices;

const PORT: fn(bool) -> Value = |public| json!([{"name": "http", "port": 8080, "protocol": "http", "public": public}]);

fn chosen(choices: Choices, extra: Value, container: Value) -> Resources {
    let shape = KubernetesShape { choices, ..shape() };
    shape
        .render(&desired(json!({ "web": service(container, extra) }), json!({})))
        .unwrap()
}

fn spec(resources: &Resources, kind: &str, pointer: &str) -> Value {
    let body = one(resources, kind).unwrap_or_else(|| panic!("{kind} is not among {:?}", resources.keys()));
    body["spec"].pointer(pointer).cloned().unwrap_or_default()
}

fn domains() -> Value {
    json!({ "ports": PORT(false), "domains": [
        {"host": "shop.example.com", "tls": "auto", "port": 8080},
        {"host": "plain.example.com", "tls": "none", "port": 8080},
    ]})
}

#[test]
fn a_domain_leads_to_its_service() {
    let choices = Choices {
        ingress_class: Some("nginx".into()),
        cluster_issuer: Some("letsencrypt".into()),
        ..Choices::default()
    };
    let resources = chosen(choices, domains(), container(json!({})));
    whole::<Ingress>("Ingress", one(&resources, "Ingress").unwrap());
    let at = |pointer: &str| spec(&resources, "Ingress", pointer);
    let service = resources.keys().find(|id| id.kind == "Service").unwrap().name.clone();
    for (reason, pointer, expected) in [
        ("each has a rule", "/rules/1/host", json!("plain.example.com")),
        (
            "at its service",
            "/rules/0/http/paths/0/backend/service/name",
            json!(service),
        ),
        (
            "at its port",
            "/rules/0/http/paths/0/backend/service/port/number",
            json!(8080),
        ),
        ("of the Target's class", "/ingressClassName", json!("nginx")),
        (
            "with a certificate where it is wanted",
            "/tls/0/hosts",
            json!(["shop.example.com"]),
        ),
    ] {
        assert_eq!(at(pointer), expected, "{reason}");
    }
    let issuer = &one(&resources, "Ingress").unwrap()["metadata"]["annotations"][annotation::ISSUER];
    assert_eq!(issuer, "letsencrypt");
}

#[test]
fn where_the_target_names_a_gateway_a_domain_is_attached_to_it() {
    let gateway = GatewayReference {
        name: "edge".into(),
        namespace: Some("gateways".into()),
    };
    let choices = Choices {
        gateway: Some(gateway),
        ..Choices::default()
    };
    let resources = chosen(choices, domains(), container(json!({})));
    assert!(one(&resources, "Ingress").is_none(), "one way in is enough");
    let at = |pointer: &str| spec(&resources, "HTTPRoute", pointer);
    for (reason, pointer, expected) in [
        ("the gateway", "/parentRefs/0/name", json!("edge")),
        ("in its own namespace", "/parentRefs/0/namespace", json!("gateways")),
        (
            "every domain",
            "/hostnames",
            json!(["shop.example.com", "plain.example.com"]),
        ),
        ("its port", "/rules/0/backendRefs/0/port", json!(8080)),
    ] {
        assert_eq!(at(pointer), expected, "{reason}");
    }
}

#[test]
fn a_policy_lets_in_who_may_reach_a_service() {
    let ingress = |extra: Value| {
        let resources = web(container(json!({})), extra);
        whole::<NetworkPolicy>("NetworkPolicy", one(&resources, "NetworkPolicy").unwrap());
        spec(&resources, "NetworkPolicy", "/ingress")
    };
    let allow = json!([{"namespace": "others", "app": "one"}]);
    let of_domain = json!([{"host": "shop.example.com", "tls": "auto", "port": 8080}]);
    for (reason, extra, rules, pointer, expected) in [
        (
            "its own app always",
            json!({"ports": PORT(false)}),
            1,
            "/0/from/0/podSelector/matchLabels/portolan.dev~1owner",
            json!("ours"),
        ),
        (
            "an app that is allowed, where it is",
            json!({"ports": PORT(false), "allow": allow}),
            2,
            "/1/from/0/namespaceSelector/matchLabels/kubernetes.io~1metadata.name",
            json!("others"),
        ),
        (
            "everybody, on what is public",
            json!({"ports": PORT(true)}),
            2,
            "/1/ports/0/port",
            json!(8080),
        ),
        (
            "everybody, on what a domain leads to",
            json!({"ports": PORT(false), "domains": of_domain}),
            2,
            "/1/ports/0/port",
            json!(8080),
        ),
    ] {
        let all = ingress(extra);
        assert_eq!(all.as_array().unwrap().len(), rules, "{reason}");
        assert_eq!(all.pointer(pointer), Some(&expected), "{reason}");
    }
    let resources = web(container(json!({})), json!({}));
    assert!(
        one(&resources, "NetworkPolicy").is_none(),
        "what has no port is reached by nobody"
    );
}

#[test]
fn what_scales_a_service_is_chosen_by_what_it_asks() {
    let queue = |kind: &str| json!({"queue": {"binding": "orders", "bindingType": kind, "name": "work", "length": 5}});
    let scaled = |on: Value| {
        let limits = json!({"resources": {"cpuMillis": 500, "memoryBytes": 64 << 20, "pids": null}});
        web(
            container(limits),
            json!({"replicas": 2, "autoscale": {"max": 10, "on": on}}),
        )
    };
    let by_share = scaled(json!([{"cpu": 70}, {"memory": 80}]));
    whole::<HorizontalPodAutoscaler>(
        "HorizontalPodAutoscaler",
        one(&by_share, "HorizontalPodAutoscaler").unwrap(),
    );
    let workload = one(&by_share, "Deployment").unwrap();
    assert_eq!(workload["metadata"]["annotations"][annotation::REPLICAS], "2-10");
    let by_queue = scaled(json!([{"cpu": 70}, queue("rabbitmq")]));
    assert!(one(&by_queue, "HorizontalPodAutoscaler").is_none(), "KEDA makes it");
    let by_list = scaled(json!([queue("redis")]));
    for (reason, resources, kind, pointer, expected) in [
        ("from", &by_share, "HorizontalPodAutoscaler", "/minReplicas", json!(2)),
        ("to", &by_share, "HorizontalPodAutoscaler", "/maxReplicas", json!(10)),
        (
            "by the service's own container",
            &by_share,
            "HorizontalPodAutoscaler",
            "/metrics/0/containerResource/container",
            json!("web"),
        ),
        (
            "memory besides",
            &by_share,
            "HorizontalPodAutoscaler",
            "/metrics/1/containerResource/target/averageUtilization",
            json!(80),
        ),
        (
            "a share among queues",
            &by_queue,
            "ScaledObject",
            "/triggers/0/metadata/value",
            json!("70"),
        ),
        (
            "a queue of RabbitMQ",
            &by_queue,
            "ScaledObject",
            "/triggers/1/metadata/queueName",
            json!("work"),
        ),
        (
            "a list of Redis",
            &by_list,
            "ScaledObject",
            "/triggers/0/metadata/hostFromEnv",
            json!("ORDERS_HOST"),
        ),
    ] {
        assert_eq!(spec(resources, kind, pointer), expected, "{reason}");
    }
}

fn gpu(extra: Value) -> Value {
    let mut gpu = json!({"count": 2, "vendor": "nvidia", "model": null, "memoryBytes": null});
    merge(&mut gpu, extra);
    container(json!({"resources": {"cpuMillis": null, "memoryBytes": null, "pids": null, "gpu": gpu}}))
}

#[test]
fn a_device_plugin_is_asked_by_resource_and_labels() {
    let resources = chosen(
        Choices::default(),
        json!({}),
        gpu(json!({"model": "NVIDIA-L4", "memoryBytes": 20u64 << 30})),
    );
    whole::<Deployment>("Deployment", one(&resources, "Deployment").unwrap());
    let pod = pod(&resources, "Deployment");
    let required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0";
    for (reason, pointer, expected) in [
        (
            "how many",
            "/containers/0/resources/limits/nvidia.com~1gpu".to_string(),
            json!("2"),
        ),
        (
            "which",
            "/nodeSelector/nvidia.com~1gpu.product".to_string(),
            json!("NVIDIA-L4"),
        ),
        (
            "with enough memory",
            format!("{required}/matchExpressions/0/values/0"),
            json!("20479"),
        ),
    ] {
        assert_eq!(pod.pointer(&pointer), Some(&expected), "{reason}");
    }
    let surge = spec(&resources, "Deployment", "/strategy/rollingUpdate/maxSurge");
    assert_eq!(surge, 0, "the new one gets the old one's GPU");
}

#[test]
fn a_driver_is_asked_by_a_claim() {
    let choices = || Choices {
        gpus: GpuAccess::ResourceClaim,
        ..Choices::default()
    };
    let wanted = json!({"model": "NVIDIA-L4", "memoryBytes": 20u64 << 30});
    let resources = chosen(choices(), json!({}), gpu(wanted));
    whole::<ResourceClaimTemplate>(
        "ResourceClaimTemplate",
        one(&resources, "ResourceClaimTemplate").unwrap(),
    );
    whole::<Deployment>("Deployment", one(&resources, "Deployment").unwrap());
    let template = resources.keys().find(|id| id.kind == "ResourceClaimTemplate").unwrap();
    let pod = pod(&resources, "Deployment");
    assert_eq!(
        pod["resourceClaims"][0]["resourceClaimTemplateName"],
        json!(template.name)
    );
    assert_eq!(
        pod["containers"][0]["resources"]["claims"],
        json!([{"name": "gpu-web"}])
    );
    let exactly = spec(&resources, "ResourceClaimTemplate", "/spec/devices/requests/0/exactly");
    for (reason, pointer, expected) in [
        ("whose", "/deviceClassName", json!("gpu.nvidia.com")),
        ("how many", "/count", json!(2)),
        (
            "which, by the name that a node's label would have",
            "/selectors/0/cel/expression",
            json!(r#"device.attributes["gpu.nvidia.com"].productName.replace(" ", "-") == "NVIDIA-L4""#),
        ),
        (
            "with enough memory",
            "/selectors/1/cel/expression",
            json!(r#"device.capacity["gpu.nvidia.com"].memory.compareTo(quantity("20Gi")) >= 0"#),
        ),
    ] {
        assert_eq!(exactly.pointer(pointer), Some(&expected), "{reason}");
    }
    let another = chosen(choices(), json!({}), gpu(json!({"count": 1})));
    assert!(!another.contains_key(template), "another wish is another object");
}

#[test]
fn a_gpu_that_no_label_tells_of_is_a_fault() {
    let state = desired(
        json!({ "web": service(gpu(json!({"vendor": "intel", "model": "Arc"})), json!({})) }),
        json!({}),
    );
    let faults = shape().render(&state).unwrap_err();
    let told: Vec<_> = faults
        .iter()
        .map(|fault| (&*fault.code, fault.pointer.as_str()))
        .collect();
    assert_eq!(told, [("GpuUnsupported", "/spec/services/web/resources/gpu/model")]);
}

#[test]
fn a_schedule_makes_a_job_one_of_the_clock() {
    let job = json!({
        "name": "nightly", "origin": "/spec/jobs/nightly", "revision": "r1", "container": container(json!({})),
        "retries": 2, "timeout": {"secs": 60, "nanos": 0}, "after": [], "runtime": "gvisor",
        "schedule": {"cron": "0 3 * * *", "timeZone": null},
        "logs": {"maxSizeBytes": 1, "maxFiles": 1, "maxAge": null},
    });
    let resources = rendered(json!({}), json!({ "nightly": job }));
    assert!(one(&resources, "Job").is_none(), "nothing runs before its time");
    whole::<CronJob>("CronJob", one(&resources, "CronJob").unwrap());
    for (reason, pointer, expected) in [
        ("when", "/schedule", json!("0 3 * * *")),
        ("in which zone", "/timeZone", json!("Etc/UTC")),
        ("one at a time", "/concurrencyPolicy", json!("Forbid")),
        ("as often as a job", "/jobTemplate/spec/backoffLimit", json!(2)),
        (
            "under its runtime",
            "/jobTemplate/spec/template/spec/runtimeClassName",
            json!("gvisor"),
        ),
        ("its Jobs are its own", "/jobTemplate/metadata", Value::Null),
    ] {
        assert_eq!(spec(&resources, "CronJob", pointer), expected, "{reason}");
    }
}

#[test]
fn pods_go_where_their_images_run() {
    let on = |architecture: &str| {
        let mut state = desired(json!({ "web": service(container(json!({})), json!({})) }), json!({}));
        let container = &mut state.services.get_mut("web").unwrap().container;
        container.image.architecture = Some(architecture.into()).filter(|text: &String| !text.is_empty());
        let resources = shape().render(&state).unwrap();
        pod(&resources, "Deployment")["nodeSelector"].clone()
    };
    assert_eq!(on("arm64"), json!({"kubernetes.io/arch": "arm64"}));
    assert_eq!(on(""), Value::Null, "an index runs on several");
}

#[test]
fn a_secret_of_a_store_is_made_by_an_external_secret() {
    let choices = Choices {
        secret_store: Some(SecretStore {
            name: "vault".into(),
            kind: SecretStoreKind::ClusterSecretStore,
            refresh: HumanDuration::from_secs(3600),
        }),
        ..Choices::default()
    };
    let secret = |name: &str, key: Value| json!([{ "secret": { "name": name, "key": key } }]);
    let env = json!({ "env": {
        "URL": secret("prod/shop/db", json!("url")),
        "PASSWORD": secret("prod/shop/db", json!("password")),
        "TOKEN": secret("token", Value::Null),
    } });
    let resources = chosen(choices, json!({}), container(env));
    let made: Vec<&Resource> = resources
        .values()
        .filter(|one| one.id.kind == "ExternalSecret")
        .collect();
    assert_eq!(made.len(), 2, "one for each secret: {:?}", resources.keys());
    let workload = resources.values().find(|one| one.id.kind == "Deployment").unwrap();
    for one in &made {
        let (name, spec) = (&one.id.name, &one.body["spec"]);
        assert_eq!(
            spec["target"]["name"], **name,
            "it makes the KubeSecret of its own name"
        );
        assert_eq!(
            spec["secretStoreRef"],
            json!({ "name": "vault", "kind": "ClusterSecretStore" })
        );
        assert_eq!(spec["refreshInterval"], "1h");
        assert!(
            workload.edges.iter().any(|edge| edge.to == one.id),
            "it comes before its pods"
        );
    }
    let variables = pod(&resources, "Deployment")["containers"][0]["env"]
        .as_array()
        .unwrap()
        .clone();
    let key_of = |variable: &str| {
        let found = variables.iter().find(|one| one["name"] == variable).unwrap();
        found["valueFrom"]["secretKeyRef"].clone()
    };
    for (reason, variable, remote) in [
        (
            "a key of it",
            "URL",
            json!({ "key": "prod/shop/db", "property": "url" }),
        ),
        (
            "another one",
            "PASSWORD",
            json!({ "key": "prod/shop/db", "property": "password" }),
        ),
        ("all of it", "TOKEN", json!({ "key": "token" })),
    ] {
        let key = key_of(variable);
        let source = made.iter().find(|one| key["name"] == *one.id.name).unwrap();
        let data = source.body["spec"]["data"].as_array().unwrap();
        let found = data.iter().find(|one| one["secretKey"] == key["key"]).unwrap();
        assert_eq!(found["remoteRef"], remote, "{reason}");
    }
}

#[test]
fn secrets_of_a_driver_come_by_its_volume_to_those_who_take_one() {
    let choices = || Choices {
        secret_class: Some("vault".into()),
        ..Choices::default()
    };
    let takes = json!({ "env": { "TOKEN": json!([{ "secret": { "name": "token", "key": "key" } }]) } });
    let resources = chosen(choices(), json!({}), container(takes));
    let taking = pod(&resources, "Deployment");
    let volume = &taking["volumes"][0];
    assert_eq!(volume["csi"]["driver"], "secrets-store.csi.k8s.io");
    assert_eq!(volume["csi"]["volumeAttributes"]["secretProviderClass"], "vault");
    let mounts = &taking["containers"][0]["volumeMounts"];
    assert_eq!(
        mounts[0]["name"], volume["name"],
        "it is mounted: for that the driver makes the KubeSecret"
    );
    let key = &taking["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"];
    assert_eq!(*key, json!({ "name": "token", "key": "key" }));
    let none = chosen(choices(), json!({}), container(json!({})));
    assert_eq!(
        pod(&none, "Deployment")["volumes"],
        Value::Null,
        "who takes none has no such volume"
    );
}
