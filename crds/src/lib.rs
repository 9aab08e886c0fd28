//! App and Target as Kubernetes knows them: their CustomResourceDefinitions, and the JSON Schema for editors.
//!
//! All three are made from the types in `portolan_core::manifest` and checked in beside this crate, so that a person can
//! read them, `kubectl apply` can take them, and a change of the manifest shows in review; a test compares them
//! (`PORTOLAN_REGENERATE=1 cargo test -p portolan-crds` writes them anew). This crate knows no Kubernetes client
//! (`docs/decisions/0002-crds-without-a-client.md`). Read `definition.rs` first.

mod definition;
mod validations;
mod yaml;

use portolan_core::schema::manifest_schema;
use serde_json::Value;

/// CustomResourceDefinition of App, as checked in.
pub const APP_CRD: &str = include_str!("../app.yaml");

/// CustomResourceDefinition of Target, as checked in.
pub const TARGET_CRD: &str = include_str!("../target.yaml");

/// JSON Schema of a manifest's document for editors, as checked in.
pub const JSON_SCHEMA: &str = include_str!("../portolan.schema.json");

/// A file of this crate's folder that is made, and its text as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedFile {
    pub name: &'static str,
    pub text: String,
}

/// The schemas within the two definitions, by kind.
pub fn schemas() -> [(&'static str, Value); 2] {
    let schema = |mut definition: Value| definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
    [
        ("App", schema(definition::app())),
        ("Target", schema(definition::target())),
    ]
}

/// Every file of this crate's folder that is made.
pub fn generate() -> Vec<GeneratedFile> {
    let crd = |definition| {
        format!(
            "# Made from portolan_core::manifest; a test compares it.\n{}",
            yaml::write(&definition)
        )
    };
    let schema = serde_json::to_string_pretty(&manifest_schema()).expect("a JSON value is written as JSON");
    vec![
        GeneratedFile {
            name: "app.yaml",
            text: crd(definition::app()),
        },
        GeneratedFile {
            name: "target.yaml",
            text: crd(definition::target()),
        },
        GeneratedFile {
            name: "portolan.schema.json",
            text: schema + "\n",
        },
    ]
}
