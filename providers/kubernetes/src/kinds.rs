//! The kinds of objects that an app becomes, and where an API server has them.

use portolan_core::resource::ResourceId;
use serde_json::Value;

/// One kind: the fixed half of every request about its objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    /// Empty for the core group.
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    /// What becomes of pods when it is deleted.
    pub leaves: Leaves,
    pub comes_with: ComesWith,
}

/// Who brings a kind into a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComesWith {
    /// Kubernetes itself: every cluster has it.
    Kubernetes,
    /// Somebody may have installed it. Where nobody has, an API server answers 404 for all of it, and there is none.
    Installation,
}

/// When a deleted object is gone: before its pods are, or after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// It goes at once, and what it made is collected behind it.
    Before,
    /// It stays until its pods have ended: what comes after it must not run beside them.
    After,
}

const fn kind(name: &'static str, group: &'static str, version: &'static str, plural: &'static str) -> Kind {
    Kind {
        name,
        group,
        version,
        plural,
        leaves: Leaves::Before,
        comes_with: ComesWith::Kubernetes,
    }
}

const fn installed(name: &'static str, group: &'static str, version: &'static str, plural: &'static str) -> Kind {
    Kind {
        comes_with: ComesWith::Installation,
        ..kind(name, group, version, plural)
    }
}

pub const SERVICE_ACCOUNT: Kind = kind("ServiceAccount", "", "v1", "serviceaccounts");
pub const CONFIG_MAP: Kind = kind("ConfigMap", "", "v1", "configmaps");
pub const CLAIM: Kind = kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims");
pub const SERVICE: Kind = kind("Service", "", "v1", "services");
pub const DEPLOYMENT: Kind = kind("Deployment", "apps", "v1", "deployments");
pub const STATEFUL_SET: Kind = Kind {
    leaves: Leaves::After,
    ..kind("StatefulSet", "apps", "v1", "statefulsets")
};
pub const JOB: Kind = Kind {
    leaves: Leaves::After,
    ..kind("Job", "batch", "v1", "jobs")
};
/// One whose pods have ended: nothing runs beside what comes after it, and its name is free at once.
pub const ENDED_JOB: Kind = kind("Job", "batch", "v1", "jobs");
pub const CRON_JOB: Kind = Kind {
    leaves: Leaves::After,
    ..kind("CronJob", "batch", "v1", "cronjobs")
};
pub const DISRUPTION_BUDGET: Kind = kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets");
pub const AUTOSCALER: Kind = kind(
    "HorizontalPodAutoscaler",
    "autoscaling",
    "v2",
    "horizontalpodautoscalers",
);
pub const INGRESS: Kind = kind("Ingress", "networking.k8s.io", "v1", "ingresses");
pub const NETWORK_POLICY: Kind = kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies");
/// Of the Gateway API.
pub const HTTP_ROUTE: Kind = installed("HTTPRoute", "gateway.networking.k8s.io", "v1", "httproutes");
/// Of KEDA.
pub const SCALED_OBJECT: Kind = installed("ScaledObject", "keda.sh", "v1alpha1", "scaledobjects");
/// Of External Secrets.
pub const EXTERNAL_SECRET: Kind = installed("ExternalSecret", "external-secrets.io", "v1", "externalsecrets");
/// Since Kubernetes 1.34.
pub const CLAIM_TEMPLATE: Kind = installed(
    "ResourceClaimTemplate",
    "resource.k8s.io",
    "v1",
    "resourceclaimtemplates",
);

/// Looked at for causes, and never written.
pub const POD: Kind = kind("Pod", "", "v1", "pods");
pub const EVENT: Kind = kind("Event", "", "v1", "events");
pub const SECRET: Kind = kind("Secret", "", "v1", "secrets");
/// Of the Secrets Store CSI driver.
pub const SECRET_CLASS: Kind = installed(
    "SecretProviderClass",
    "secrets-store.csi.x-k8s.io",
    "v1",
    "secretproviderclasses",
);
pub const GATEWAY: Kind = installed("Gateway", "gateway.networking.k8s.io", "v1", "gateways");

/// Every kind that is rendered: what a look lists.
pub const RENDERED: &[&Kind] = &[
    &SERVICE_ACCOUNT,
    &CONFIG_MAP,
    &CLAIM,
    &SERVICE,
    &DEPLOYMENT,
    &STATEFUL_SET,
    &JOB,
    &CRON_JOB,
    &DISRUPTION_BUDGET,
    &AUTOSCALER,
    &INGRESS,
    &NETWORK_POLICY,
    &HTTP_ROUTE,
    &SCALED_OBJECT,
    &EXTERNAL_SECRET,
    &CLAIM_TEMPLATE,
];

impl Kind {
    /// Of a resource; `None` for one that no app becomes.
    pub fn of(id: &ResourceId) -> Option<&'static Self> {
        RENDERED.iter().copied().find(|kind| kind.name == id.kind)
    }

    /// Whether Kubernetes itself need not have it.
    pub fn is_installed(&self) -> bool {
        self.comes_with == ComesWith::Installation
    }

    /// `apps/v1`
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Of all its objects in one KubeNamespace: `/apis/apps/v1/namespaces/shop/deployments`.
    pub fn path(&self, kube_namespace: &str) -> String {
        self.path_in(Some(kube_namespace))
    }

    /// So, or of those in all of them: `/apis/apps/v1/deployments`.
    pub fn path_in(&self, kube_namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let place = kube_namespace.map_or(String::new(), |name| format!("namespaces/{name}/"));
        format!("{root}/{}/{place}{}", self.api_version(), self.plural)
    }

    /// `gateway.networking.k8s.io`; empty for the core group.
    pub fn group(&self) -> &'static str {
        self.group
    }

    /// Whether it makes pods, and is what fails with them.
    pub fn has_pods(&self) -> bool {
        [&DEPLOYMENT, &STATEFUL_SET, &JOB].contains(&self)
    }

    pub fn id(&self, name: impl Into<String>) -> ResourceId {
        ResourceId::new(self.name, name)
    }
}

/// What the pods of an object are made from, if it makes any.
pub fn template(object: &Value) -> Option<&Value> {
    let of_jobs = || object.pointer("/spec/jobTemplate/spec/template");
    object
        .pointer("/spec/template")
        .filter(|template| template.is_object())
        .or_else(of_jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_where_the_api_server_has_them() {
        for (reason, kind, expected) in [
            (
                "the core group has no name",
                &SERVICE,
                "/api/v1/namespaces/shop/services",
            ),
            (
                "any other has",
                &DEPLOYMENT,
                "/apis/apps/v1/namespaces/shop/deployments",
            ),
        ] {
            assert_eq!(kind.path("shop"), expected, "{reason}");
        }
        assert_eq!(DEPLOYMENT.path_in(None), "/apis/apps/v1/deployments", "of all");
    }
}
