//! What `portolan render` prints of a resource: the call that makes it, and the whole request.

use portolan_core::plan::Scope;
use portolan_core::resource::Resource;
use serde_json::{Value, json};

use crate::kinds::{Kind, SERVICE};
use crate::names::tag;
use crate::requests::service::CreateService;

/// As it is sent, with whose it is.
pub fn document(scope: &Scope, resource: &Resource) -> Value {
    let kind = Kind::of(&resource.id);
    let call = kind.map(|kind| format!("{}:{}", kind.api, kind.create));
    json!({ "call": call, "name": resource.id.name, "request": tagged(scope, &resource.body) })
}

/// Who wrote the intent is no part of what is compared, and is said with each write.
fn tagged(scope: &Scope, body: &Value) -> Value {
    let mut body = body.clone();
    let source = scope.source.as_str();
    match (body.get("tags").is_some(), body.get("Tags").is_some()) {
        (true, _) => add(&mut body["tags"], ["key", "value"], source),
        (_, true) => add(&mut body["Tags"], ["Key", "Value"], source),
        _ => {}
    }
    body
}

fn add(tags: &mut Value, [key, value]: [&str; 2], source: &str) {
    match tags {
        Value::Array(tags) => tags.push(json!({ key: tag::SOURCE, value: source })),
        Value::Object(tags) => drop(tags.insert(tag::SOURCE.to_string(), json!(source))),
        _ => {}
    }
}

/// The call that changes what is there into what the resource says, and its request; `None` where none can.
pub fn update(resource: &Resource, is_scaled: bool) -> Option<(String, Value)> {
    let kind = Kind::of(&resource.id)?;
    let call = format!("{}:{}", kind.api, kind.update?);
    let body = match kind == &SERVICE {
        true => {
            let create: CreateService = serde_json::from_value(resource.body.clone()).ok()?;
            serde_json::to_value(create.as_update(is_scaled)).ok()?
        }
        false => resource.body.clone(),
    };
    Some((call, body))
}
