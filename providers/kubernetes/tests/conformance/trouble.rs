//! Troubles of a cluster, each by its own means: a role that is narrowed, a quota.

use kube::Client;
use portolan_conformance::{Cannot, Trouble};
use portolan_core::plan::Verb;
use portolan_core::resource::ResourceId;
use portolan_provider_api::WriteRequest;
use serde_json::{Value, json};

use crate::cluster::{ask, until};

/// Whose requests are in trouble.
pub struct Victim<'a> {
    pub administrator: &'a Client,
    pub user: &'a str,
    pub kube_namespace: &'a str,
}

impl Victim<'_> {
    /// The write that meets it.
    pub async fn meets(&self, trouble: Trouble) -> Result<WriteRequest, Cannot> {
        match trouble {
            Trouble::Throttled => return Err(ALWAYS_A_SEAT),
            Trouble::Denied => self.permit(&["get"]).await,
            Trouble::Full => self.fill().await,
            Trouble::Nonsense => return Ok(create("ServiceAccount", "No Name At All")),
        }
        Ok(create("ConfigMap", "one-more"))
    }

    /// Of ConfigMaps, these verbs and no others.
    async fn permit(&self, verbs: &[&str]) {
        let path = format!("/apis/{RBAC}/namespaces/{}/roles/{ROLE}", self.kube_namespace);
        let mut role = ask(self.administrator, "GET", &path, None).await.unwrap();
        role["rules"][0]["resources"]
            .as_array_mut()
            .unwrap()
            .retain(|one| one != "configmaps");
        let rules = role["rules"].as_array_mut().unwrap();
        rules.truncate(5);
        rules.push(json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": verbs }));
        ask(self.administrator, "PUT", &path, Some(&role)).await;
        let expected = verbs.contains(&"create");
        until("the role is another one", || async {
            self.may_create().await == expected
        })
        .await;
    }

    async fn may_create(&self) -> bool {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": { "user": self.user, "resourceAttributes": {
                "namespace": self.kube_namespace, "verb": "create", "resource": "configmaps" } },
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = ask(self.administrator, "POST", path, Some(&review)).await.unwrap();
        answer["status"]["allowed"] == true
    }

    /// There are as many as there may be: the one with the cluster's certificates is in every namespace.
    async fn fill(&self) {
        self.permit(&["get", "list", "create", "patch", "delete"]).await;
        let path = format!("/api/v1/namespaces/{}/resourcequotas", self.kube_namespace);
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few" },
            "spec": { "hard": { "count/configmaps": "1" } },
        });
        ask(self.administrator, "POST", &path, Some(&quota)).await;
        let few = format!("{path}/few");
        until("what there is has been counted", || async {
            let quota = ask(self.administrator, "GET", &few, None).await.unwrap();
            quota["status"]["used"]["count/configmaps"] == "1"
        })
        .await;
    }
}

const ALWAYS_A_SEAT: Cannot =
    "an API server lets in whoever has nothing else under way, even where his priority level has no seat";
const RBAC: &str = "rbac.authorization.k8s.io/v1";
const ROLE: &str = "portolan";

/// All that the provider asks for to bring an app up, and nothing else; and, of the cluster, who it is.
pub fn permissions(user: &str, kube_namespace: &str, watches: bool) -> Vec<Value> {
    let subject = json!([{ "kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io" }]);
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({ "apiGroups": groups, "resources": resources, "verbs": verbs });
    let looking: &[&str] = if watches {
        &["get", "list", "watch"]
    } else {
        &["get", "list"]
    };
    let write = [looking, &["create", "patch", "delete"]].concat();
    let written = [
        "serviceaccounts",
        "configmaps",
        "persistentvolumeclaims",
        "services",
        "deployments",
        "statefulsets",
        "jobs",
        "cronjobs",
        "poddisruptionbudgets",
        "horizontalpodautoscalers",
        "ingresses",
        "networkpolicies",
        "httproutes",
        "scaledobjects",
        "externalsecrets",
        "resourceclaimtemplates",
    ];
    let role = |sort: &str, namespace: Value, rules: Value| json!({ "apiVersion": RBAC, "kind": sort, "metadata": { "name": ROLE, "namespace": namespace }, "rules": rules });
    let groups = [
        "",
        "apps",
        "batch",
        "policy",
        "autoscaling",
        "networking.k8s.io",
        "gateway.networking.k8s.io",
        "keda.sh",
        "external-secrets.io",
        "resource.k8s.io",
    ];
    let looks = rule(&[""], &["pods"], &looking[1..]);
    let told = rule(&[""], &["events"], &["list"]);
    let reads = rule(&[""], &["pods/log", "secrets"], &["get"]);
    let gateways = rule(&["gateway.networking.k8s.io"], &["gateways"], &["get"]);
    let in_it = role(
        "Role",
        json!(kube_namespace),
        json!([rule(&groups, &written, &write), looks, told, reads, gateways]),
    );
    let of_it = role(
        "ClusterRole",
        Value::Null,
        json!([rule(&[""], &["namespaces"], &["get"])]),
    );
    let bound = |sort: &str, to: &str, name: &str, namespace: Value| {
        json!({
            "apiVersion": RBAC, "kind": sort, "metadata": { "name": name, "namespace": namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": to, "name": ROLE }, "subjects": subject,
        })
    };
    let bindings = [
        bound("RoleBinding", "Role", ROLE, json!(kube_namespace)),
        bound("ClusterRoleBinding", "ClusterRole", user, Value::Null),
    ];
    [in_it, of_it].into_iter().chain(bindings).collect()
}

fn create(kind: &str, name: &str) -> WriteRequest {
    let api = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "labels": {}, "annotations": {} } });
    WriteRequest {
        verb: Verb::Create,
        id: ResourceId::new(kind, name),
        body: api,
        revision: None,
        etag: None,
        generation: 1,
        idempotency_token: name.into(),
        take_over: false,
        erase_data: false,
    }
}
