//! GPUs: a resource that a device plugin offers, or a claim that a driver fills.
//!
//! What a node's GPUs are is told by labels of the vendor's feature discovery in the first case, and by attributes of the
//! device in the second.

use portolan_core::desired::{DesiredContainer, DesiredGpu, DesiredService};
use portolan_core::fault::Fault;
use portolan_core::manifest::{ByteQuantity, GpuAccess, GpuVendor};
use serde_json::{Value, json};

use super::workload::containers;
use super::{Part, Renderer};
use crate::kinds::CLAIM_TEMPLATE;
use crate::names::hash_of_text;

/// What one vendor's software calls things.
struct Words {
    /// Resource of the device plugin.
    resource: &'static str,
    /// Label of a node with the name of the product.
    model: Option<&'static str>,
    /// Label of a node with the memory of each, in MiB.
    memory: Option<&'static str>,
    /// Driver for dynamic resource allocation, and its DeviceClass.
    driver: &'static str,
    /// Attribute of a device with the name of the product.
    attribute: &'static str,
}

fn words(vendor: GpuVendor) -> Words {
    match vendor {
        GpuVendor::Nvidia => Words {
            resource: "nvidia.com/gpu",
            model: Some("nvidia.com/gpu.product"),
            memory: Some("nvidia.com/gpu.memory"),
            driver: "gpu.nvidia.com",
            attribute: "productName",
        },
        GpuVendor::Amd => Words {
            resource: "amd.com/gpu",
            model: Some("amd.com/gpu.product-name"),
            memory: None,
            driver: "gpu.amd.com",
            attribute: "productName",
        },
        GpuVendor::Intel => Words {
            resource: "gpu.intel.com/i915",
            model: None,
            memory: None,
            driver: "gpu.intel.com",
            attribute: "model",
        },
    }
}

/// Name of the one claim of a container, within its pod.
fn claim_name(container: &str) -> String {
    format!("gpu-{container}")
}

pub(super) fn has_gpu(service: &DesiredService) -> bool {
    containers(service).any(|container| container.resources.gpu.is_some())
}

impl Renderer<'_> {
    fn claims_gpus(&self) -> bool {
        self.shape.choices.gpus == GpuAccess::ResourceClaim
    }

    /// Into the container `body`, and what its pod has to say besides into `spec`.
    pub(super) fn gpu(
        &mut self,
        running: &super::container::Running<'_>,
        part: Part<'_>,
        body: &mut Value,
        spec: &mut Value,
    ) {
        let Some(gpu) = &running.container.resources.gpu else {
            return;
        };
        if let Some(template) = self.claim_template_of(running.container) {
            let name = claim_name(running.name);
            body["resources"]["claims"] = json!([{ "name": name }]);
            let claim = json!({ "name": name, "resourceClaimTemplateName": template });
            push(&mut spec["resourceClaims"], claim);
            let rendered = self.object(&CLAIM_TEMPLATE, template, part, claim_template(gpu));
            self.add(rendered);
            return;
        }
        body["resources"]["limits"][words(gpu.vendor).resource] = json!(gpu.count.to_string());
        let origin = format!("{}/resources/gpu", running.origin);
        self.node(gpu, &origin, spec);
    }

    /// Its spec cannot be changed, so another wish is another object.
    pub(super) fn claim_template_of(&self, container: &DesiredContainer) -> Option<String> {
        let gpu = container.resources.gpu.as_ref().filter(|_| self.claims_gpus())?;
        let hash = hash_of_text("gpu", &claim_template(gpu).to_string())[..10].to_string();
        Some(self.names.beside("gpu", &hash))
    }

    /// Nodes whose GPUs are as they are asked for.
    fn node(&mut self, gpu: &DesiredGpu, origin: &str, spec: &mut Value) {
        let words = words(gpu.vendor);
        match (&gpu.model, words.model) {
            (Some(model), Some(label)) => spec["nodeSelector"][label] = json!(model),
            (Some(_), None) => self.faults.push(not_told("model", origin)),
            (None, _) => {}
        }
        match (gpu.memory_bytes, words.memory) {
            (Some(bytes), Some(label)) => {
                let less = (bytes.div_ceil(1 << 20)).saturating_sub(1).to_string();
                let more = json!({ "key": label, "operator": "Gt", "values": [less] });
                // Of several terms one is enough: all that is asked for stands in one.
                let terms = &mut spec["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"];
                if terms.is_null() {
                    *terms = json!([{}]);
                }
                push(&mut terms[0]["matchExpressions"], more);
            }
            (Some(_), None) => self.faults.push(not_told("memory", origin)),
            (None, _) => {}
        }
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

fn not_told(what: &str, origin: &str) -> Fault {
    let message = format!("the {what} of this vendor's GPUs is not among the labels of a node");
    let fault = Fault::new("GpuUnsupported", message, format!("{origin}/{what}"));
    fault.with_hint("a Target with `gpus: resourceClaim` can ask for it, where the cluster has the vendor's driver")
}

fn claim_template(gpu: &DesiredGpu) -> Value {
    let words = words(gpu.vendor);
    let mut wanted = json!({ "deviceClassName": words.driver, "allocationMode": "ExactCount", "count": gpu.count });
    let selectors: Vec<Value> = selectors(gpu, &words)
        .into_iter()
        .map(|cel| json!({ "cel": { "expression": cel } }))
        .collect();
    if !selectors.is_empty() {
        wanted["selectors"] = json!(selectors);
    }
    json!({ "spec": { "spec": { "devices": { "requests": [{ "name": "gpu", "exactly": wanted }] } } } })
}

/// In CEL, over the attributes and the capacity that a driver publishes. A product's name has spaces there, which are
/// hyphens in the label of a node: one manifest means the same product either way.
fn selectors(gpu: &DesiredGpu, words: &Words) -> Vec<String> {
    let (driver, attribute) = (words.driver, words.attribute);
    let model = gpu
        .model
        .as_ref()
        .map(|model| format!("device.attributes[\"{driver}\"].{attribute}.replace(\" \", \"-\") == \"{model}\""));
    let memory = gpu.memory_bytes.map(|bytes| {
        let least = ByteQuantity::from_bytes(bytes);
        format!("device.capacity[\"{driver}\"].memory.compareTo(quantity(\"{least}\")) >= 0")
    });
    model.into_iter().chain(memory).collect()
}
