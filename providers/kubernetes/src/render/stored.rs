//! Secrets that come from elsewhere: by an ExternalSecret for each one that an app names, or by the volume of a CSI driver.
//!
//! The KubeSecret that an ExternalSecret makes has a name of ours, so that two apps of one KubeNamespace may name the same secret and neither
//! takes it from the other; and the name in the store may be one that no KubeSecret could have. A driver makes the KubeSecrets that
//! its class names, as soon as a pod mounts its volume, for which alone the volume is there.

use std::collections::BTreeMap;

use portolan_core::desired::{DesiredContainer, EnvValue};
use portolan_core::manifest::SecretReference;
use serde_json::{Value, json};

use super::{Part, Renderer, exists};
use crate::kinds::EXTERNAL_SECRET;
use crate::preflight::secrets_in;

/// The key of a KubeSecret that holds a whole secret of the store.
const WHOLE: &str = "value";

/// Name of the driver's volume: none of a manifest's begins with a digit.
pub const VOLUME: &str = "0-secrets";
/// Where that driver's users expect it.
const MOUNT: &str = "/mnt/secrets-store";
const DRIVER: &str = "secrets-store.csi.k8s.io";

/// By secret: the keys of it that variables take, as the store calls them, by the KubeSecret's key.
pub type Stored = BTreeMap<String, BTreeMap<String, Option<String>>>;

impl Renderer<'_> {
    /// What a variable is taken from.
    pub(super) fn stored_key(&mut self, secret: &SecretReference) -> Value {
        let key = secret.key.clone().unwrap_or_else(|| WHOLE.to_string());
        let keys = self.stored.entry(secret.name.clone()).or_default();
        keys.insert(key.clone(), secret.key.clone());
        json!({ "name": self.names.beside(&secret.name, "secret"), "key": key })
    }

    /// Of a container that takes a secret, where a driver brings them.
    pub(super) fn secrets_volume(&self, container: &DesiredContainer) -> Option<Value> {
        let class = self.shape.choices.secret_class.as_deref()?;
        takes_secrets(container).then(|| {
            let attributes = json!({ "secretProviderClass": class });
            json!({ "name": VOLUME, "csi": { "driver": DRIVER, "readOnly": true, "volumeAttributes": attributes } })
        })
    }

    pub(super) fn secrets_mount(&self, container: &DesiredContainer) -> Option<Value> {
        self.secrets_volume(container)
            .map(|_| json!({ "name": VOLUME, "mountPath": MOUNT, "readOnly": true }))
    }

    /// Once everything that takes one is rendered: it waits for what makes its secrets.
    pub(super) fn external_secrets(&mut self) {
        let Some(store) = &self.shape.choices.secret_store else {
            return;
        };
        for (secret, keys) in std::mem::take(&mut self.stored) {
            let name = self.names.beside(&secret, "secret");
            let data = keys.iter().map(|(key, property)| {
                let mut remote = json!({ "key": secret });
                if let Some(property) = property {
                    remote["property"] = json!(property);
                }
                json!({ "secretKey": key, "remoteRef": remote })
            });
            let body = json!({ "spec": {
                "refreshInterval": store.refresh.to_string(),
                "secretStoreRef": { "name": store.name, "kind": store.kind.as_str() },
                "target": { "name": name, "creationPolicy": "Owner" },
                "data": data.collect::<Vec<_>>(),
            }});
            // The name in the store may be none that a label could hold.
            let part = Part {
                name: &self.desired.scope.app,
                component: "secret",
                origin: "/spec",
            };
            let rendered = self.object(&EXTERNAL_SECRET, name.clone(), part, body);
            for resource in self.resources.values_mut() {
                if secrets_in(&resource.body).contains(name.as_str()) {
                    resource.edges.push(exists(rendered.id.clone()));
                    resource.edges.sort();
                }
            }
            self.add(rendered);
        }
    }
}

fn takes_secrets(container: &DesiredContainer) -> bool {
    container.env.values().any(|value: &EnvValue| value.secret().is_some())
}
