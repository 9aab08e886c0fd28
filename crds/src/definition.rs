//! CustomResourceDefinitions (apiextensions.k8s.io/v1) around the manifest's structural schema.
//!
//! Kubernetes refuses what is not structural: no `$ref`, one type in each place, and no `additionalProperties` beside
//! `properties`. What it has no word for (`propertyNames`) is left to `parse`, which the operator runs as well.
//! Defaults are left out: the API server would write them into stored objects, where a later default could not reach.

use portolan_core::manifest::API_VERSION;
use portolan_core::rules::{Rule, app_rules, target_rules};
use portolan_core::schema::{app_schema, target_schema};
use serde_json::{Map, Value, json};

use crate::validations;

/// What differs between the two.
struct Kind {
    name: &'static str,
    plural: &'static str,
    short: &'static str,
    scope: &'static str,
    subresources: Value,
    status: Value,
    columns: Value,
}

pub fn app() -> Value {
    let kind = Kind {
        name: "App",
        plural: "apps",
        short: "papp",
        scope: "Namespaced",
        // Of an App with `replicas`; see docs/decisions/0029.
        subresources: json!({
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        }),
        status: app_status(),
        columns: json!([
            { "name": "Targets", "type": "string", "jsonPath": ".spec.targets" },
            ready_column(),
            reason_column(),
            age_column(),
            wide(condition_column("Reconciling", "status")),
            wide(condition_column("Drifted", "status")),
            wide(condition_column("Ready", "message")),
        ]),
    };
    definition(&kind, app_schema(), app_rules())
}

pub fn target() -> Value {
    let kind = Kind {
        name: "Target",
        plural: "targets",
        short: "ptarget",
        scope: "Cluster",
        subresources: json!({ "status": {} }),
        status: status_of(json!({})),
        columns: json!([
            { "name": "Provider", "type": "string", "jsonPath": ".spec.provider" },
            ready_column(),
            age_column(),
            wide(condition_column("Ready", "message")),
        ]),
    };
    definition(&kind, target_schema(), target_rules())
}

fn definition(kind: &Kind, schema: &Value, rules: &[Rule]) -> Value {
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
                "subresources": kind.subresources,
                "additionalPrinterColumns": kind.columns,
                "schema": { "openAPIV3Schema": object_schema(schema, kind, rules) },
            }],
        },
    })
}

/// `metadata` belongs to Kubernetes, but for the grammar of names; `status` is ours to write.
fn object_schema(schema: &Value, kind: &Kind, rules: &[Rule]) -> Value {
    let mut object = json!({
        "description": schema["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": { "description": "Version of this object's schema.", "type": "string" },
            "kind": { "description": "What this object describes.", "type": "string" },
            "metadata": {
                "type": "object",
                "properties": { "name": { "type": "string", "maxLength": 63, "pattern": name_pattern(schema) } },
            },
            "spec": for_kubernetes(&schema["properties"]["spec"], "spec"),
            "status": kind.status,
        },
    });
    validations::put(&mut object, rules);
    // A map within a map would have too many keys for an API server to look at.
    let spec = &schema["properties"]["spec"]["properties"];
    for (name, field) in spec.as_object().into_iter().flatten() {
        if let Some(validation) = validations::of_keys(field) {
            validations::add(&mut object["properties"]["spec"]["properties"][name], validation);
        }
    }
    object
}

fn name_pattern(schema: &Value) -> &Value {
    &schema["properties"]["metadata"]["properties"]["name"]["pattern"]
}

/// An App's own: what runs by target, and what `kubectl scale` and an autoscaler ask for.
fn app_status() -> Value {
    status_of(json!({
        "lastHandledReconcileAt": {
            "description": "The annotation portolan.dev/reconcile-at that was obeyed last.",
            "type": "string",
        },
        "lastHandledPromote": {
            "description": "The annotation portolan.dev/promote that was looked at last.",
            "type": "string",
        },
        "replicas": {
            "description": "Of an app that says `replicas`: how many of them are ready, on the target that has the fewest.",
            "type": "integer",
            "format": "int32",
        },
        "selector": {
            "description": "Of an app that says `replicas`: the labels of its pods, for autoscalers.",
            "type": "string",
        },
        "targets": {
            "description": "By target: what runs there.",
            "type": "object",
            "additionalProperties": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        },
    }))
}

/// Conditions as every tool of Kubernetes reads them, the generation that they are about, and what a kind says besides.
fn status_of(further: Value) -> Value {
    let mut status = json!({
        "description": "What was last seen; written by the operator.",
        "type": "object",
        // Nobody takes a new object for one that was looked at: kstatus compares the generations.
        "default": { "observedGeneration": -1 },
        "properties": {
            "observedGeneration": {
                "description": "The object's generation that this status is about; -1 while nobody has looked at it.",
                "type": "integer",
                "format": "int64",
            },
            "conditions": {
                "description": "How it stands: Ready, and whether somebody has to do something (Stalled).",
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": condition(),
            },
        },
    });
    let fields = status["properties"].as_object_mut().expect("it was made as one");
    fields.extend(further.as_object().cloned().unwrap_or_default());
    status
}

fn condition() -> Value {
    let text = |words: &str, most: u64| json!({ "description": words, "type": "string", "maxLength": most });
    let mut reason = text("The same in one word, which is an error's code where it is one.", 1024);
    reason["minLength"] = json!(1);
    json!({
        "type": "object",
        "required": ["type", "status", "reason", "lastTransitionTime"],
        "properties": {
            "type": text("Which condition this is.", 316),
            "status": {
                "description": "Whether it is so.",
                "type": "string",
                "enum": ["True", "False", "Unknown"],
            },
            "reason": reason,
            "message": text("The same in a sentence.", 32768),
            "observedGeneration": {
                "description": "The object's generation that it is about.",
                "type": "integer",
                "format": "int64",
            },
            "lastTransitionTime": {
                "description": "Since when it is so.",
                "type": "string",
                "format": "date-time",
            },
        },
    })
}

/// The same without what Kubernetes has no word for, and without defaults; `place` is where it stands, with words for every field.
fn for_kubernetes(schema: &Value, place: &str) -> Value {
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
                    .map(|(name, schema)| (name.clone(), described(schema, &format!("{place}.{name}"))))
                    .collect(),
            ),
            ("items", schema) => for_kubernetes(schema, &format!("{place}[]")),
            ("additionalProperties", schema) => for_kubernetes(schema, &format!("{place}.NAME")),
            (_, other) => other.clone(),
        };
        (key.clone(), value)
    });
    Value::Object(changed.collect::<Map<_, _>>())
}

/// An override has the words of what it overrides, which are not repeated: `kubectl explain` is led to them.
fn described(schema: &Value, place: &str) -> Value {
    let mut schema = for_kubernetes(schema, place);
    if let Some(field) = place
        .strip_prefix("spec.overrides.NAME.")
        .filter(|_| schema["description"].is_null())
    {
        schema["description"] = json!(format!("As spec.{field}, on this target alone."));
    }
    schema
}

fn ready_column() -> Value {
    condition_column("Ready", "status")
}

/// Why it is ready or not, in one word.
fn reason_column() -> Value {
    condition_column("Ready", "reason")
}

/// A field of a condition; its status bears the condition's name, its other fields their own.
fn condition_column(condition: &str, field: &str) -> Value {
    let name = match field {
        "status" => condition,
        "reason" => "Reason",
        _ => "Message",
    };
    let path = format!(".status.conditions[?(@.type==\"{condition}\")].{field}");
    json!({ "name": name, "type": "string", "jsonPath": path })
}

/// Shown by `-o wide` alone.
fn wide(mut column: Value) -> Value {
    column["priority"] = json!(1);
    column
}

fn age_column() -> Value {
    json!({ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" })
}
