//! Every field of an App: a manifest that sets them all, and for each another value that a target can tell from the first.

use portolan_core::capability::{Support, report, support_of};
use portolan_core::schema::app_schema;
use serde_json::{Value, json};

use crate::account::Account;
use crate::apps::{app, with};
use crate::bench::Bench;

/// One field, with two values of it.
#[derive(Clone, Debug)]
pub struct Variation {
    /// As a provider's table writes it: `services.*.scale.min`.
    pub field: String,
    /// Of the field, or of what it is a part of.
    pub pointer: String,
    from: Value,
    to: Value,
    /// What is taken away before, because the field cannot be there beside it.
    without: &'static [&'static str],
}

impl Variation {
    fn new(field: impl Into<String>, pointer: impl Into<String>, from: Value, to: Value) -> Self {
        let (field, pointer) = (field.into(), pointer.into());
        Self {
            field,
            pointer,
            from,
            to,
            without: &[],
        }
    }

    fn without(self, pointers: &'static [&'static str]) -> Self {
        Self {
            without: pointers,
            ..self
        }
    }

    fn beside(&self, manifest: &Value) -> Value {
        let pointers = self.without.iter();
        pointers.fold(manifest.clone(), |manifest, pointer| {
            with(manifest, pointer, Value::Null)
        })
    }

    pub fn before(&self, manifest: &Value) -> Value {
        with(self.beside(manifest), &self.pointer, self.from.clone())
    }

    pub fn after(&self, manifest: &Value) -> Value {
        with(self.beside(manifest), &self.pointer, self.to.clone())
    }

    /// What a provider's table says of the new value.
    pub fn support(&self, table: &[portolan_core::capability::Capability]) -> Option<Support> {
        let words: Vec<&str> = self.field.split('.').collect();
        support_of(table, &words, self.value())
    }

    /// The new value of the field itself.
    fn value(&self) -> &Value {
        let depth = self.pointer.trim_start_matches("/spec/").split('/').count();
        self.field
            .split('.')
            .skip(depth)
            .fold(&self.to, |value, word| match word {
                "*" => &value[0],
                word => &value[word],
            })
    }
}

/// Fields that a provider never sees, and who does.
pub const OF_NO_TARGET: &[(&str, &str)] = &[
    ("targets", "says which targets there are"),
    ("overrides", "is merged before anything is resolved"),
    ("replicas", "is put in the place of `scale.min` when it is resolved"),
    ("bindings", "says which values a Target may give; those are variables"),
    (
        "services.*.after",
        "is an order of writes, which the engine keeps by the edges",
    ),
    (
        "jobs.*.after",
        "is an order of writes, which the engine keeps by the edges",
    ),
    ("services.*.drift", "is the controller's"),
    ("*.build", "becomes an image before anything is rendered"),
];

/// Whether a field is none of a provider's.
pub fn is_of_no_target(field: &str) -> bool {
    OF_NO_TARGET.iter().any(|(prefix, _)| match prefix.strip_prefix('*') {
        Some(inside) => field.contains(&format!("{inside}.")),
        None => field == *prefix || field.starts_with(&format!("{prefix}.")),
    })
}

/// Every field of an App's spec, as a provider's table writes it.
pub fn of_the_schema() -> Vec<String> {
    let mut fields = Vec::new();
    collect(&app_schema()["properties"]["spec"], "", &mut fields);
    fields
}

fn collect(schema: &Value, path: &str, fields: &mut Vec<String>) {
    let below = |word: &str| {
        if path.is_empty() {
            word.to_string()
        } else {
            format!("{path}.{word}")
        }
    };
    if path == "overrides" {
        fields.push(path.to_string());
    } else if let Some(properties) = schema["properties"].as_object() {
        properties
            .iter()
            .for_each(|(name, inner)| collect(inner, &below(name), fields));
    } else if schema["additionalProperties"].is_object() {
        collect(&schema["additionalProperties"], &below("*"), fields);
    } else if schema["items"]["properties"].is_object() {
        collect(&schema["items"], &below("*"), fields);
    } else {
        fields.push(path.to_string());
    }
}

/// An app that sets every field, but for those that the target calls impossible. Nothing in it has to run: its service
/// has no replica.
pub fn full<A: Account>(bench: &Bench<A>) -> Value {
    let manifest = everything(&bench.account);
    let table = bench.provider.shape.capabilities();
    let findings = report(table, &manifest["spec"]).into_iter();
    let impossible = findings.filter(|finding| matches!(finding.support, Support::Impossible(_)));
    let without = impossible.fold(manifest, |manifest, finding| {
        with(manifest, &finding.pointer, Value::Null)
    });
    let uses = without["spec"]["uses"].as_object().into_iter().flatten();
    let has_none = uses.flat_map(|(_, one)| one.as_object()).all(|one| one.is_empty());
    match has_none {
        true => with(without, "/spec/uses", Value::Null),
        false => without,
    }
}

const WEB: &str = "/spec/services/web";

/// Two revisions that stand beside each other cannot both write to one.
const VOLUMES: &[&str] = &[
    "/spec/services/web/volumes",
    "/spec/services/web/sidecars/proxy/volumes",
    "/spec/services/web/init/0/volumes",
];

fn everything<A: Account>(account: &A) -> Value {
    let web = [
        (
            "/ports",
            json!([{"name": "http", "port": 8080, "protocol": "http", "public": false}]),
        ),
        ("/domains", json!([{"host": "one.example.com", "tls": "auto"}])),
        (
            "/health",
            json!({ "startup": probe(), "ready": probe(), "live": probe() }),
        ),
        ("/scale", json!({ "min": 0, "max": 2 })),
        ("/runtime", json!("default")),
        ("/rollout", json!({ "strategy": "rolling", "deadline": "5m" })),
        (
            "/stop",
            json!({ "signal": "SIGTERM", "drain": "1s", "gracePeriod": "2s" }),
        ),
        ("/logs", logs()),
        ("/traffic", json!({ "allow": [{"app": "one", "namespace": "others"}] })),
        ("/sidecars", json!({ "proxy": sidecar(account) })),
        (
            "/init",
            json!([with(container(account.task()), "/name", json!("seed"))]),
        ),
    ];
    let web = web
        .into_iter()
        .fold(container(account.server(8080)), |web, (pointer, value)| {
            with(web, pointer, value)
        });
    let job = [("/retries", json!(1)), ("/timeout", json!("1m")), ("/logs", logs())];
    let job = job
        .into_iter()
        .fold(container(account.task()), |job, (pointer, value)| {
            with(job, pointer, value)
        });
    let nightly = with(account.task(), "/schedule", json!("0 3 * * *"));
    let nightly = with(nightly, "/timeZone", json!("Europe/Berlin"));
    let spec = json!({
        "uses": { "products": {"app": "catalog", "namespace": "others", "service": "api", "port": 80, "protocol": "http"} },
        "services": { "web": web },
        "jobs": { "migrate": job, "nightly": nightly },
        "bindings": { "orders": {"type": "rabbitmq"}, "tasks": {"type": "rabbitmq"} },
    });
    app(account, spec)
}

fn container(container: Value) -> Value {
    let fields = [
        ("/args", json!(["--quiet"])),
        ("/workingDir", json!("/srv")),
        ("/user", json!("1000")),
        ("/env", json!({ "MODE": "one" })),
        ("/secrets", json!({ "TOKEN": {"name": "api", "key": "token"} })),
        ("/files", json!([{"path": "/etc/app/one", "content": "one"}])),
        (
            "/volumes",
            json!([{"name": "data", "path": "/data", "size": "1Gi", "readOnly": false}]),
        ),
        ("/resources", json!({ "cpu": "500m", "memory": "64Mi", "pids": 50 })),
    ];
    fields
        .into_iter()
        .fold(container, |container, (pointer, value)| with(container, pointer, value))
}

fn sidecar<A: Account>(account: &A) -> Value {
    let sidecar = container(account.server(9000));
    let sidecar = with(
        sidecar,
        "/ports",
        json!([{"name": "stats", "port": 9000, "protocol": "http", "public": false}]),
    );
    with(
        sidecar,
        "/health",
        json!({ "startup": probe(), "ready": probe(), "live": probe() }),
    )
}

fn probe() -> Value {
    json!({ "exec": {"command": ["/bin/true"]}, "interval": "5s", "timeout": "1s", "threshold": 3 })
}

fn logs() -> Value {
    json!({ "maxSize": "1Mi", "maxFiles": 2, "maxAge": "24h" })
}

/// A variation of each field that is a provider's.
pub fn variations<A: Account>(bench: &Bench<A>) -> Vec<Variation> {
    let ports = bench.account.free_ports(2);
    let mut all = Vec::new();
    of_containers(&everything(&bench.account), &mut all);
    of_ports("services.*", WEB, 8080, ports[0], &mut all);
    of_ports(
        "services.*.sidecars.*",
        &format!("{WEB}/sidecars/proxy"),
        9000,
        ports[1],
        &mut all,
    );
    of_probes("services.*", WEB, 8080, &mut all);
    of_probes(
        "services.*.sidecars.*",
        &format!("{WEB}/sidecars/proxy"),
        9000,
        &mut all,
    );
    of_logs("services.*", WEB, &mut all);
    of_logs("jobs.*", "/spec/jobs/migrate", &mut all);
    of_the_rest(&mut all);
    all
}

fn of_containers(everything: &Value, all: &mut Vec<Variation>) {
    let places = [
        ("services.*", WEB.to_string()),
        ("services.*.sidecars.*", format!("{WEB}/sidecars/proxy")),
        ("services.*.init.*", format!("{WEB}/init/0")),
        ("jobs.*", "/spec/jobs/migrate".to_string()),
    ];
    for (path, at) in places {
        let image = everything
            .pointer(&format!("{at}/image"))
            .and_then(Value::as_str)
            .expect("it has an image");
        let another = format!("{}:another", image.rsplit_once(':').expect("with a tag").0);
        let values = [
            ("image", "image", json!(image), json!(another)),
            ("command", "command", json!(["/bin/one"]), json!(["/bin/another"])),
            ("args", "args", json!(["--quiet"]), json!(["--loud"])),
            ("workingDir", "workingDir", json!("/srv"), json!("/opt")),
            ("user", "user", json!("1000"), json!("1001:1001")),
            ("env.*", "env/MODE", json!("one"), json!("another")),
            ("secrets.*.name", "secrets/TOKEN/name", json!("api"), json!("another")),
            ("secrets.*.key", "secrets/TOKEN/key", json!("token"), json!("another")),
            (
                "files.*.path",
                "files/0/path",
                json!("/etc/app/one"),
                json!("/etc/app/another"),
            ),
            ("files.*.content", "files/0/content", json!("one"), json!("another")),
            ("volumes.*.name", "volumes/0/name", json!("data"), json!("another")),
            ("volumes.*.path", "volumes/0/path", json!("/data"), json!("/another")),
            ("volumes.*.size", "volumes/0/size", json!("1Gi"), json!("2Gi")),
            ("volumes.*.readOnly", "volumes/0/readOnly", json!(false), json!(true)),
            ("resources.cpu", "resources/cpu", json!("500m"), json!("250m")),
            ("resources.memory", "resources/memory", json!("64Mi"), json!("48Mi")),
            ("resources.pids", "resources/pids", json!(50), json!(40)),
            (
                "resources.gpu.count",
                "resources/gpu",
                json!({"count": 1}),
                json!({"count": 2}),
            ),
            (
                "resources.gpu.vendor",
                "resources/gpu",
                json!({"vendor": "nvidia"}),
                json!({"vendor": "amd"}),
            ),
            (
                "resources.gpu.model",
                "resources/gpu",
                json!({"model": "one"}),
                json!({"model": "another"}),
            ),
            (
                "resources.gpu.memory",
                "resources/gpu",
                json!({"memory": "16Gi"}),
                json!({"memory": "20Gi"}),
            ),
        ];
        for (field, inside, from, to) in values {
            all.push(Variation::new(
                format!("{path}.{field}"),
                format!("{at}/{inside}"),
                from,
                to,
            ));
        }
    }
    all.push(Variation::new(
        "services.*.init.*.name",
        format!("{WEB}/init/0/name"),
        json!("seed"),
        json!("another"),
    ));
}

fn of_ports(path: &str, at: &str, port: u16, free: u16, all: &mut Vec<Variation>) {
    let one = |name: &str, port: u16, protocol: &str, public: bool| json!([{"name": name, "port": port, "protocol": protocol, "public": public}]);
    let values = [
        (
            "name",
            one("one", port, "http", false),
            one("another", port, "http", false),
        ),
        ("port", one("one", port, "http", false), one("one", free, "http", false)),
        (
            "protocol",
            one("one", port, "http", false),
            one("one", port, "udp", false),
        ),
        (
            "public",
            one("one", free, "http", false),
            one("one", free, "http", true),
        ),
    ];
    for (field, from, to) in values {
        all.push(Variation::new(
            format!("{path}.ports.*.{field}"),
            format!("{at}/ports"),
            from,
            to,
        ));
    }
}

fn of_probes(path: &str, at: &str, port: u16, all: &mut Vec<Variation>) {
    for question in ["startup", "ready", "live"] {
        let values = [
            (
                "exec.command",
                json!({"exec": {"command": ["/bin/one"]}}),
                json!({"exec": {"command": ["/bin/another"]}}),
            ),
            (
                "http.path",
                json!({"http": {"path": "/one", "port": port}}),
                json!({"http": {"path": "/another", "port": port}}),
            ),
            (
                "http.port",
                json!({"http": {"path": "/", "port": port}}),
                json!({"http": {"path": "/", "port": port + 1}}),
            ),
            (
                "tcp.port",
                json!({"tcp": {"port": port}}),
                json!({"tcp": {"port": port + 1}}),
            ),
            (
                "interval",
                json!({"tcp": {"port": port}, "interval": "5s"}),
                json!({"tcp": {"port": port}, "interval": "7s"}),
            ),
            (
                "timeout",
                json!({"tcp": {"port": port}, "timeout": "1s"}),
                json!({"tcp": {"port": port}, "timeout": "3s"}),
            ),
            (
                "threshold",
                json!({"tcp": {"port": port}, "threshold": 3}),
                json!({"tcp": {"port": port}, "threshold": 4}),
            ),
        ];
        for (field, from, to) in values {
            let field = format!("{path}.health.{question}.{field}");
            all.push(Variation::new(field, format!("{at}/health/{question}"), from, to));
        }
    }
}

fn of_logs(path: &str, at: &str, all: &mut Vec<Variation>) {
    let values = [
        ("maxSize", json!("1Mi"), json!("2Mi")),
        ("maxFiles", json!(2), json!(4)),
        ("maxAge", json!("24h"), json!("48h")),
    ];
    for (field, from, to) in values {
        all.push(Variation::new(
            format!("{path}.logs.{field}"),
            format!("{at}/logs/{field}"),
            from,
            to,
        ));
    }
}

fn of_the_rest(all: &mut Vec<Variation>) {
    let up_to = |max: u32| json!({ "min": 1, "max": max, "on": [{"cpu": "50%"}] });
    let on = |on: Value| json!({ "min": 1, "max": 2, "on": [on] });
    let queue = |binding: &str, name: &str, length: u32| {
        on(json!({ "queue": {"binding": binding, "name": name, "length": length} }))
    };
    let step = |weight: &str, pause: &str| json!({"strategy": "canary", "steps": [{"weight": weight, "pause": pause}]});
    let web = [
        ("scale.min", "scale/min", json!(0), json!(1)),
        ("scale.max", "scale", up_to(2), up_to(3)),
        (
            "scale.on.*.cpu",
            "scale",
            on(json!({"cpu": "50%"})),
            on(json!({"cpu": "60%"})),
        ),
        (
            "scale.on.*.memory",
            "scale",
            on(json!({"memory": "50%"})),
            on(json!({"memory": "60%"})),
        ),
        (
            "scale.on.*.queue.binding",
            "scale",
            queue("orders", "one", 5),
            queue("tasks", "one", 5),
        ),
        (
            "scale.on.*.queue.name",
            "scale",
            queue("orders", "one", 5),
            queue("orders", "another", 5),
        ),
        (
            "scale.on.*.queue.length",
            "scale",
            queue("orders", "one", 5),
            queue("orders", "one", 6),
        ),
        (
            "domains.*.host",
            "domains/0/host",
            json!("one.example.com"),
            json!("another.example.com"),
        ),
        ("domains.*.tls", "domains/0/tls", json!("auto"), json!("none")),
        ("runtime", "runtime", json!("default"), json!("gvisor")),
        (
            "rollout.strategy",
            "rollout/strategy",
            json!("rolling"),
            json!("recreate"),
        ),
        ("rollout.deadline", "rollout/deadline", json!("5m"), json!("7m")),
        (
            "rollout.steps.*.weight",
            "rollout",
            step("10%", "1m"),
            step("20%", "1m"),
        ),
        ("rollout.steps.*.pause", "rollout", step("10%", "1m"), step("10%", "2m")),
        ("stop.signal", "stop/signal", json!("SIGTERM"), json!("SIGINT")),
        ("stop.drain", "stop/drain", json!("1s"), json!("3s")),
        ("stop.gracePeriod", "stop/gracePeriod", json!("2s"), json!("4s")),
        (
            "traffic.allow.*.app",
            "traffic/allow/0/app",
            json!("one"),
            json!("another"),
        ),
        (
            "traffic.allow.*.namespace",
            "traffic/allow/0/namespace",
            json!("others"),
            json!("more"),
        ),
    ];
    for (field, inside, from, to) in web {
        let variation = Variation::new(format!("services.*.{field}"), format!("{WEB}/{inside}"), from, to);
        all.push(match field.starts_with("rollout.steps") {
            true => variation.without(VOLUMES),
            false => variation,
        });
    }
    let of_use = [
        ("app", json!("another")),
        ("namespace", json!("more")),
        ("service", json!("another")),
        ("port", json!(81)),
        ("protocol", json!("tcp")),
    ];
    let product = json!({"app": "catalog", "namespace": "others", "service": "api", "port": 80, "protocol": "http"});
    for (field, to) in of_use {
        // As a whole: where the target takes none, none is there to be changed.
        let (from, to) = (product.clone(), with(product.clone(), &format!("/{field}"), to));
        all.push(Variation::new(
            format!("uses.*.{field}"),
            "/spec/uses",
            json!({ "products": from }),
            json!({ "products": to }),
        ));
    }
    let clock = [
        ("schedule", json!("0 3 * * *"), json!("0 4 * * *")),
        ("timeZone", json!("Europe/Berlin"), json!("Asia/Tokyo")),
    ];
    for (field, from, to) in clock {
        let pointer = format!("/spec/jobs/nightly/{field}");
        all.push(Variation::new(format!("jobs.*.{field}"), pointer, from, to));
    }
    let of_job = [
        ("retries", json!(1), json!(2)),
        ("timeout", json!("1m"), json!("2m")),
        ("runtime", json!("default"), json!("kata")),
    ];
    for (field, from, to) in of_job {
        all.push(Variation::new(
            format!("jobs.*.{field}"),
            format!("/spec/jobs/migrate/{field}"),
            from,
            to,
        ));
    }
}
