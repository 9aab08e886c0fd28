//! `x-kubernetes-validations`: the rules across fields, and the grammar of keys, as CEL for the API server.
//!
//! Both are core's: what is written here is where they go in a definition. An API server refuses a definition whose rules might cost
//! too much, which is why lists and maps of the manifest have limits (`portolan_core::manifest::limits`).

use portolan_core::manifest::grammar::{self, Grammar};
use portolan_core::rules::{Rule, schema_pointer};
use serde_json::{Value, json};

/// Longest name, as its grammar says it.
const LONGEST_NAME: usize = 63;

/// Puts the rules into the schema of a document of the form for Kubernetes.
pub fn put(document: &mut Value, rules: &[Rule]) {
    for rule in rules {
        for place in rule.places {
            let schema = document.pointer_mut(&schema_pointer(place));
            add(
                schema.expect("core's tests look up every place of a rule"),
                of_rule(rule),
            );
        }
    }
}

fn of_rule(rule: &Rule) -> Value {
    let mut validation = json!({
        "rule": rule.test.cel("self"),
        "message": rule.words(),
        "reason": rule.reason.as_str(),
    });
    if !rule.field.is_empty() {
        validation["fieldPath"] = json!(format!(".{}", rule.field));
    }
    validation
}

/// One more validation of a schema.
pub fn add(schema: &mut Value, validation: Value) {
    let list = &mut schema["x-kubernetes-validations"];
    match list.as_array_mut() {
        Some(list) => list.push(validation),
        None => *list = json!([validation]),
    }
}

/// What is said of the keys of a map. Kubernetes has no `propertyNames`, and a key has no bound that an API server would count with:
/// no regular expression may look at one. What is looked at are its length and its ends; the letters between are left to
/// whoever reads the object, and so are keys of grammars without a longest one.
pub fn of_keys(schema: &Value) -> Option<Value> {
    let pattern = schema["propertyNames"]["pattern"].as_str()?;
    let grammar = Grammar::of_pattern(pattern).filter(|known| std::ptr::eq(*known, &grammar::NAME))?;
    let begins = "key.charAt(0) >= 'a' && key.charAt(0) <= 'z'";
    Some(json!({
        "rule": format!("self.all(key, size(key) > 0 && size(key) <= {LONGEST_NAME} && {begins} && !key.endsWith('-'))"),
        "message": format!("{}: a key is not {}; hint: {}", grammar.code, grammar.what, grammar.rule),
        "reason": "FieldValueInvalid",
    }))
}
