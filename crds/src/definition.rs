//! CustomResourceDefinitions (apiextensions.k8s.io/v1) around the manifest's structural schema.
//!
//! Kubernetes refuses what is not structural: no `$ref`, one type in each place, and no `additionalProperties` beside
//! `properties`. What it has no word for (`propertyNames`) is left to `parse`, which the operator runs as well.
//! Defaults are left out: the API server would write them into stored objects, where a later default could not reach.

use portolan_core::manifest::API_VERSION;
use portolan_core::schema::{app_schema, target_schema};
use serde_json::{Map, Value, json};

/// What differs between the two.
struct Kind {
    name: &'static str,
    plural: &'static str,
    short: &'static str,
    scope: &'static str,
    columns: Value,
}

pub fn app() -> Value {
    let kind = Kind {
        name: "App",
        plural: "apps",
        short: "papp",
        scope: "Namespaced",
        columns: json!([
            { "name": "Targets", "type": "string", "jsonPath": ".spec.targets" },
            ready_column(),
            reason_column(),
            age_column(),
        ]),
    };
    definition(&kind, app_schema())
}

pub fn target() -> Value {
    let kind = Kind {
        name: "Target",
        plural: "targets",
        short: "ptarget",
        scope: "Cluster",
        columns: json!([
            { "name": "Provider", "type": "string", "jsonPath": ".spec.provider" },
            ready_column(),
            age_column(),
        ]),
    };
    definition(&kind, target_schema())
}

fn definition(kind: &Kind, schema: &Value) -> Value {
    let (group, version) = API_VERSION
        .split_once('/')
        .expect("an API version is a group and a version");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{group}", kind.plural) },
        "spec": {
            "group": group,
            "scope": kind.scope,
            "names": {
                "kind": kind.name,
                "listKind": format!("{}List", kind.name),
                "plural": kind.plural,
                "singular": kind.name.to_lowercase(),
                "shortNames": [kind.short],
                "categories": ["portolan"],
            },
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": kind.columns,
                "schema": { "openAPIV3Schema": object_schema(schema) },
            }],
        },
    })
}

/// `metadata` belongs to Kubernetes, but for the grammar of names; `status` is ours to write.
fn object_schema(schema: &Value) -> Value {
    json!({
        "description": schema["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": {
                "type": "object",
                "properties": { "name": { "type": "string", "maxLength": 63, "pattern": name_pattern(schema) } },
            },
            "spec": for_kubernetes(&schema["properties"]["spec"]),
            "status": status_schema(),
        },
    })
}

fn name_pattern(schema: &Value) -> &Value {
    &schema["properties"]["metadata"]["properties"]["name"]["pattern"]
}

/// Conditions as every tool of Kubernetes reads them, the generation that they are about, and room for what a target says.
fn status_schema() -> Value {
    let time = json!({ "type": "string", "format": "date-time" });
    json!({
        "description": "What was last seen; written by the operator.",
        "type": "object",
        "properties": {
            "observedGeneration": {
                "description": "The object's generation that this status is about.",
                "type": "integer",
                "format": "int64",
            },
            "conditions": {
                "description": "Ready, Reconciling, Stalled and Drifted.",
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "reason", "lastTransitionTime"],
                    "properties": {
                        "type": { "type": "string", "maxLength": 316 },
                        "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                        "reason": { "type": "string", "minLength": 1, "maxLength": 1024 },
                        "message": { "type": "string", "maxLength": 32768 },
                        "observedGeneration": { "type": "integer", "format": "int64" },
                        "lastTransitionTime": time,
                    },
                },
            },
            "lastHandledReconcileAt": {
                "description": "The annotation portolan.dev/reconcile-at that was obeyed last.",
                "type": "string",
            },
            "targets": {
                "description": "By target: what runs there.",
                "type": "object",
                "additionalProperties": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            },
        },
    })
}

/// The same without what Kubernetes has no word for, and without defaults.
fn for_kubernetes(schema: &Value) -> Value {
    let Value::Object(fields) = schema else {
        return schema.clone();
    };
    let kept = fields
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "propertyNames" | "default"));
    let changed = kept.map(|(key, value)| {
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(fields)) => Value::Object(
                fields
                    .iter()
                    .map(|(name, schema)| (name.clone(), for_kubernetes(schema)))
                    .collect(),
            ),
            ("items" | "additionalProperties", schema) => for_kubernetes(schema),
            (_, other) => other.clone(),
        };
        (key.clone(), value)
    });
    Value::Object(changed.collect::<Map<_, _>>())
}

fn ready_column() -> Value {
    json!({ "name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status" })
}

fn reason_column() -> Value {
    json!({ "name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason" })
}

fn age_column() -> Value {
    json!({ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" })
}
