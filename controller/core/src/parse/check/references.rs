//! `${...}` in environment values: what is named exists.

use super::{AppView, Fault, Path};
use crate::interpolate::{InvalidTemplate, Reference, ServiceField, Template};
use crate::manifest::BindingType;
use crate::parse::fault::nearest_or_all;
use crate::parse::node::{Entry, Node};

pub fn check(app: &AppView<'_>, path: &Path<'_>, faults: &mut Vec<Fault>) {
    for container in app.containers() {
        let env = container.node().get("env").map(Node::entries).unwrap_or_default();
        container.with_path(path, |path| {
            for entry in env {
                check_value(app, entry, &path.key("env").key(&entry.key), faults);
            }
        });
    }
}

fn check_value(app: &AppView<'_>, entry: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let Some(text) = entry.value.text().filter(|text| text.contains("${")) else {
        return;
    };
    match Template::parse(text) {
        Err(invalid) => faults.push(invalid_template(&invalid, &entry.value, path)),
        Ok(template) => {
            let unknown = template
                .references()
                .filter_map(|reference| unknown(app, reference, &entry.value, path));
            faults.extend(unknown);
        }
    }
}

fn invalid_template(invalid: &InvalidTemplate, value: &Node, path: &Path<'_>) -> Fault {
    let hint = match invalid {
        InvalidTemplate::Unclosed { .. } => "close it with `}`, or write `$${` for a plain `${`".to_string(),
        InvalidTemplate::UnknownField { field, .. } => nearest_or_all(field, ["url", "host", "port"], "a service has"),
        InvalidTemplate::Unknown { text } => {
            format!(
                "name `services.NAME.url`, `.host` or `.port`, `uses.NAME.url` alike, or `bindings.NAME.KEY`; for a plain text write `${text}`"
            )
        }
    };
    Fault::new("UnknownReference", value.span, path, invalid.to_string())
        .hint(hint)
        .part(invalid.text())
}

fn unknown(app: &AppView<'_>, reference: &Reference, value: &Node, path: &Path<'_>) -> Option<Fault> {
    let (message, hint) = match reference {
        Reference::Service { service, field } => unknown_service(app, service, *field)?,
        Reference::Use { name, .. } => unknown_use(app, name)?,
        Reference::Binding { binding, key } => unknown_binding(app, binding, key)?,
    };
    let text = reference.to_string();
    Some(
        Fault::new("UnknownReference", value.span, path, format!("`{text}` {message}"))
            .hint(hint)
            .part(text),
    )
}

fn unknown_service(app: &AppView<'_>, name: &str, field: ServiceField) -> Option<(String, String)> {
    let names = app.services.iter().map(|entry| entry.key.as_str());
    let Some(service) = app.services.iter().find(|entry| entry.key == name) else {
        let hint = nearest_or_all(name, names, "its services are");
        return Some((format!("names `{name}`, which is not a service of this app"), hint));
    };
    let has_port = !service
        .value
        .get("ports")
        .map(Node::items)
        .unwrap_or_default()
        .is_empty();
    (!has_port && field != ServiceField::Host).then(|| {
        let hint = format!("give `{name}` a port under `ports`");
        (
            format!("asks for the {} of `{name}`, which has no port", field.as_str()),
            hint,
        )
    })
}

fn unknown_use(app: &AppView<'_>, name: &str) -> Option<(String, String)> {
    let names = app.uses.iter().map(|entry| entry.key.as_str());
    if names.clone().any(|known| known == name) {
        return None;
    }
    let hint = match app.uses.is_empty() {
        true => format!("declare it: `uses: {{{name}: {{app: ..., service: ..., port: ...}}}}`"),
        false => nearest_or_all(name, names, "it uses"),
    };
    Some((format!("names `{name}`, which the app does not use"), hint))
}

fn unknown_binding(app: &AppView<'_>, name: &str, key: &str) -> Option<(String, String)> {
    let names = app.bindings.iter().map(|entry| entry.key.as_str());
    let Some(binding) = app.bindings.iter().find(|entry| entry.key == name) else {
        let hint = match app.bindings.is_empty() {
            true => format!("declare it: `bindings: {{{name}: {{type: postgres}}}}`"),
            false => nearest_or_all(name, names, "its bindings are"),
        };
        return Some((format!("names `{name}`, which is not a binding of this app"), hint));
    };
    let kind = BindingType::from_word(binding.value.text_at("type")?)?;
    (!kind.keys().contains(&key)).then(|| {
        let hint = nearest_or_all(key, kind.keys().iter().copied(), &format!("a {} has", kind.as_str()));
        (format!("asks a {} for `{key}`", kind.as_str()), hint)
    })
}
