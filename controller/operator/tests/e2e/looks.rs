//! Looks at objects, as `kubectl get` shows them, without a program for each: what is asked for ten times a second while a test
//! waits costs a request, and not a tenth of a second of the processor that it waits for.

use std::path::Path;

use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// What kinds are called, where they are, and whether in a namespace.
const KINDS: &[(&[&str], &str, bool)] = &[
    (&["app", "apps"], "/apis/portolan.dev/v1alpha1/apps", true),
    (&["target", "targets"], "/apis/portolan.dev/v1alpha1/targets", false),
    (&["configmap", "configmaps"], "/api/v1/configmaps", true),
    (&["persistentvolumeclaims"], "/api/v1/persistentvolumeclaims", true),
    (&["pods"], "/api/v1/pods", true),
    (&["service", "services"], "/api/v1/services", true),
    (&["serviceaccounts"], "/api/v1/serviceaccounts", true),
    (&["deployment", "deployments"], "/apis/apps/v1/deployments", true),
    (&["statefulsets"], "/apis/apps/v1/statefulsets", true),
    (&["cronjobs"], "/apis/batch/v1/cronjobs", true),
    (&["jobs"], "/apis/batch/v1/jobs", true),
    (
        &["horizontalpodautoscalers"],
        "/apis/autoscaling/v2/horizontalpodautoscalers",
        true,
    ),
    (&["ingresses"], "/apis/networking.k8s.io/v1/ingresses", true),
    (&["networkpolicies"], "/apis/networking.k8s.io/v1/networkpolicies", true),
    (&["poddisruptionbudgets"], "/apis/policy/v1/poddisruptionbudgets", true),
    (
        &["httproute", "httproutes"],
        "/apis/gateway.networking.k8s.io/v1/httproutes",
        true,
    ),
    (&["scaledobjects"], "/apis/keda.sh/v1alpha1/scaledobjects", true),
    (
        &["externalsecrets"],
        "/apis/external-secrets.io/v1/externalsecrets",
        true,
    ),
    (
        &["resourceclaimtemplates"],
        "/apis/resource.k8s.io/v1/resourceclaimtemplates",
        true,
    ),
    (&["leases"], "/apis/coordination.k8s.io/v1/leases", true),
    (&["events.events.k8s.io"], "/apis/events.k8s.io/v1/events", true),
];

/// It is for kubectl to say: a kind that is not known here or served there, or a flag.
pub struct NotKnown;

pub struct Looks {
    runtime: Runtime,
    client: Client,
}

/// The words behind `get`.
#[derive(Default)]
struct Asked<'a> {
    namespace: Option<&'a str>,
    selector: Option<&'a str>,
    kinds: Vec<&'a str>,
    names: Vec<&'a str>,
}

impl<'a> Asked<'a> {
    fn of(words: &[&'a str]) -> Result<Self, NotKnown> {
        let mut asked = Self::default();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            match word {
                "-n" => asked.namespace = words.next(),
                "-l" => asked.selector = words.next(),
                flag if flag.starts_with('-') => return Err(NotKnown),
                kinds if asked.kinds.is_empty() => asked.kinds = kinds.split(',').map(str::trim).collect(),
                name => asked.names.push(name),
            }
        }
        match asked.kinds.len() == 1 || asked.names.is_empty() {
            true => Ok(asked),
            false => Err(NotKnown),
        }
    }

    fn path(&self, kind: &str) -> Result<String, NotKnown> {
        let found = KINDS.iter().find(|(names, ..)| names.contains(&kind));
        let (_, path, is_in_namespace) = found.ok_or(NotKnown)?;
        let Some(namespace) = self.namespace.filter(|_| *is_in_namespace) else {
            return Ok((*path).to_string());
        };
        let (group, plural) = path.rsplit_once('/').unwrap();
        Ok(format!("{group}/namespaces/{namespace}/{plural}"))
    }
}

impl Looks {
    pub fn by(kubeconfig: &Path) -> Self {
        // Connections are kept while nobody waits.
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig).unwrap();
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
            Client::try_from(config.unwrap()).unwrap()
        });
        Self { runtime, client }
    }

    /// The object, or a list of them; none where nothing is found.
    pub fn get(&self, words: &[&str]) -> Result<Option<Value>, NotKnown> {
        let asked = Asked::of(words)?;
        if let ([kind], [name]) = (&asked.kinds[..], &asked.names[..]) {
            return self.object(&format!("{}/{name}", asked.path(kind)?));
        }
        let mut items = Vec::new();
        for kind in &asked.kinds {
            let path = asked.path(kind)?;
            match &asked.names[..] {
                [] => items.extend(self.list(&path, asked.selector)?),
                names => {
                    for name in names {
                        items.extend(self.object(&format!("{path}/{name}"))?);
                    }
                }
            }
        }
        Ok((!items.is_empty()).then(|| json!({ "apiVersion": "v1", "kind": "List", "items": items })))
    }

    fn object(&self, path: &str) -> Result<Option<Value>, NotKnown> {
        Ok(self.ask(path)?.map(shown))
    }

    fn list(&self, path: &str, selector: Option<&str>) -> Result<Vec<Value>, NotKnown> {
        let query = selector.map_or(String::new(), |selector| format!("?labelSelector={selector}"));
        let mut list = self.ask(&format!("{path}{query}"))?.ok_or(NotKnown)?;
        let kind = list["kind"].as_str().unwrap_or_default();
        let (kind, version) = (kind.trim_end_matches("List").to_string(), list["apiVersion"].take());
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let named = |mut item: Value| {
            item["kind"] = json!(kind);
            item["apiVersion"] = version.clone();
            shown(item)
        };
        Ok(items.into_iter().map(named).collect())
    }

    /// None where there is none.
    fn ask(&self, path: &str) -> Result<Option<Value>, NotKnown> {
        let request = Request::get(path).body(Vec::new()).unwrap();
        match self.runtime.block_on(self.client.request(request)) {
            Ok(answer) => Ok(Some(answer)),
            Err(Error::Api(status)) if status.code == 404 => Ok(None),
            Err(_) => Err(NotKnown),
        }
    }
}

/// Without who owns which field.
fn shown(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}
