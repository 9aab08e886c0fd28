//! The kinds of objects that an app becomes, and where an API server has them.

use portolan_core::resource::ResourceId;

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
pub const DISRUPTION_BUDGET: Kind = kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets");

/// Looked at for causes, and never written.
pub const POD: Kind = kind("Pod", "", "v1", "pods");
pub const SECRET: Kind = kind("Secret", "", "v1", "secrets");

/// Every kind that is rendered: what a look lists.
pub const RENDERED: &[&Kind] = &[
    &SERVICE_ACCOUNT,
    &CONFIG_MAP,
    &CLAIM,
    &SERVICE,
    &DEPLOYMENT,
    &STATEFUL_SET,
    &JOB,
    &DISRUPTION_BUDGET,
];

impl Kind {
    /// Of a resource; `None` for one that no app becomes.
    pub fn of(id: &ResourceId) -> Option<&'static Self> {
        RENDERED.iter().copied().find(|kind| kind.name == id.kind)
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

    /// Whether it makes pods, and is what fails with them.
    pub fn has_pods(&self) -> bool {
        [&DEPLOYMENT, &STATEFUL_SET, &JOB].contains(&self)
    }

    pub fn id(&self, name: impl Into<String>) -> ResourceId {
        ResourceId::new(self.name, name)
    }
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
