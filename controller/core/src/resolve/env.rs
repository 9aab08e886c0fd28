//! The variables of one container: what the manifest says, and the words that every app sees on every target.
//!
//! `PORT`, `PORTOLAN_APP`, `PORTOLAN_SERVICE`, `PORTOLAN_TARGET`, `PORTOLAN_REVISION`; for each binding `DB_URL`,
//! `DB_HOST` and so on, as far as the Target gives them; `CATALOG_URL`, `CATALOG_HOST` and `CATALOG_PORT` for each
//! service that the container names, in `after` or in a `${services...}`. What the manifest sets itself wins.

use std::collections::{BTreeMap, BTreeSet};

use super::Resolver;
use crate::desired::{DesiredContainer, EnvPart, EnvValue};
use crate::facts::ContainerPath;
use crate::fault::Fault;
use crate::interpolate::{Part, Reference, ServiceField, Template};
use crate::manifest::{Container, Use};

/// What the standard variables of a container depend on besides itself.
pub struct Needs<'a> {
    /// Name of its service or job.
    pub workload: &'a str,
    /// The first port that it listens on.
    pub port: Option<u16>,
    pub after: &'a [String],
}

/// The standard words and where their values come from: the contract that `portolan explain env` prints.
pub const STANDARD_ENV: &[(&str, &str)] = &[
    (
        "PORT",
        "the first port of the service or sidecar; absent where there is none",
    ),
    ("PORTOLAN_APP", "metadata.name of the App"),
    ("PORTOLAN_SERVICE", "name of the service or job"),
    ("PORTOLAN_TARGET", "name of the Target"),
    ("PORTOLAN_REVISION", "revision of the service or job, ten hex digits"),
    (
        "<BINDING>_<KEY>",
        "for each binding, each key that the Target gives: DB_URL, DB_HOST, DB_PORT, DB_USERNAME, DB_PASSWORD, DB_DATABASE",
    ),
    (
        "<USE>_HOST, _PORT, _URL",
        "for each entry of the app's `uses`: the service of another app",
    ),
    (
        "<SERVICE>_HOST, _PORT, _URL",
        "for each service of the app that the container's `after` or `${services...}` names, if it has a port",
    ),
];

/// The variable that changes with every revision.
pub const REVISION_VARIABLE: &str = "PORTOLAN_REVISION";

impl Resolver<'_> {
    pub(super) fn env(
        &mut self,
        _path: &ContainerPath,
        origin: &str,
        container: &Container,
        needs: &Needs<'_>,
    ) -> BTreeMap<String, EnvValue> {
        let templates = self.templates(origin, container);
        let mut env = self.standard(needs, &templates);
        for (name, template) in &templates {
            let pointer = format!("{origin}/env/{name}");
            if let Some(value) = self.value(template, &pointer) {
                env.insert(name.clone(), value);
            }
        }
        for (name, secret) in &container.secrets {
            env.insert(name.clone(), EnvValue(vec![EnvPart::Secret(secret.clone())]));
        }
        env
    }

    fn templates(&mut self, origin: &str, container: &Container) -> BTreeMap<String, Template> {
        let mut templates = BTreeMap::new();
        for (name, text) in &container.env {
            match Template::parse(text) {
                Ok(template) => _ = templates.insert(name.clone(), template),
                Err(error) => {
                    self.faults.push(Fault::new(
                        "InterpolationInvalid",
                        error.to_string(),
                        format!("{origin}/env/{name}"),
                    ));
                }
            }
        }
        templates
    }

    fn standard(&mut self, needs: &Needs<'_>, templates: &BTreeMap<String, Template>) -> BTreeMap<String, EnvValue> {
        let mut env = BTreeMap::from([
            (
                "PORTOLAN_APP".to_string(),
                EnvValue::text(&self.input.app.metadata.name),
            ),
            ("PORTOLAN_SERVICE".to_string(), EnvValue::text(needs.workload)),
            (
                "PORTOLAN_TARGET".to_string(),
                EnvValue::text(&self.input.target.metadata.name),
            ),
        ]);
        if let Some(port) = needs.port {
            env.insert("PORT".to_string(), EnvValue::text(port.to_string()));
        }
        for service in self.named_services(needs, templates) {
            for field in ServiceField::ALL {
                let name = format!("{}_{}", words(&service), words(field.as_str()));
                env.insert(
                    name,
                    EnvValue(vec![EnvPart::Service {
                        service: service.clone(),
                        field,
                    }]),
                );
            }
        }
        for (use_name, one) in &self.input.app.spec.uses {
            for field in ServiceField::ALL {
                let name = format!("{}_{}", words(use_name), words(field.as_str()));
                env.insert(name, EnvValue::text(used(use_name, one, field)));
            }
        }
        for binding in self.input.app.spec.bindings.keys() {
            for key in self
                .input
                .target
                .spec
                .bindings
                .get(binding)
                .into_iter()
                .flat_map(|values| values.keys())
            {
                if let Some(part) = self.binding(binding, key) {
                    env.insert(format!("{}_{}", words(binding), words(key)), EnvValue(vec![part]));
                }
            }
        }
        env
    }

    /// Services with a port that `after` or a variable names. Naming all would restart every service of an app when one
    /// is added to it.
    fn named_services(&self, needs: &Needs<'_>, templates: &BTreeMap<String, Template>) -> BTreeSet<String> {
        let referenced = templates
            .values()
            .flat_map(Template::references)
            .filter_map(|reference| match reference {
                Reference::Service { service, .. } => Some(service.clone()),
                Reference::Use { .. } | Reference::Binding { .. } => None,
            });
        let services = &self.input.app.spec.services;
        let has_port = |name: &String| services.get(name).is_some_and(|service| !service.ports.is_empty());
        needs.after.iter().cloned().chain(referenced).filter(has_port).collect()
    }

    fn value(&mut self, template: &Template, pointer: &str) -> Option<EnvValue> {
        let mut parts = Vec::new();
        for part in &template.parts {
            parts.push(match part {
                Part::Literal(text) => EnvPart::Text(text.clone()),
                Part::Reference(Reference::Service { service, field }) => EnvPart::Service {
                    service: service.clone(),
                    field: *field,
                },
                Part::Reference(Reference::Use { name, field }) => {
                    // parse lets no reference through to a use that is not there
                    let one = self.input.app.spec.uses.get(name)?;
                    EnvPart::Text(used(name, one, *field))
                }
                Part::Reference(Reference::Binding { binding, key }) => match self.binding(binding, key) {
                    Some(part) => part,
                    None => {
                        self.faults
                            .push(binding_missing(&self.input.target.metadata.name, binding, key, pointer));
                        return None;
                    }
                },
            });
        }
        Some(EnvValue(parts))
    }

    /// What the Target gives for one key of a binding.
    fn binding(&self, binding: &str, key: &str) -> Option<EnvPart> {
        let value = self.input.target.spec.bindings.get(binding)?.get(key)?;
        match (&value.value, &value.secret) {
            (Some(text), _) => Some(EnvPart::Text(text.clone())),
            (None, Some(secret)) => Some(EnvPart::Secret(secret.clone())),
            (None, None) => None,
        }
    }
}

/// Added once the revision is known: it is no part of what the revision is a hash of.
pub fn add_revision(container: &mut DesiredContainer, revision: &str) {
    container
        .env
        .entry(REVISION_VARIABLE.to_string())
        .or_insert_with(|| EnvValue::text(revision));
}

/// On every target a use is reached by the name that the app gives it: an alias there, as an ExternalName or a client alias.
fn used(name: &str, one: &Use, field: ServiceField) -> String {
    match field {
        ServiceField::Host => name.to_string(),
        ServiceField::Port => one.port.to_string(),
        ServiceField::Url => format!("{}://{name}:{}", one.protocol.as_str(), one.port),
    }
}

/// `image-cache` -> `IMAGE_CACHE`.
fn words(name: &str) -> String {
    name.to_ascii_uppercase()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

fn binding_missing(target: &str, binding: &str, key: &str, pointer: &str) -> Fault {
    Fault::new(
        "BindingMissing",
        format!("the Target `{target}` gives no `{key}` for the binding `{binding}`"),
        pointer,
    )
    .with_hint(format!(
        "add it to the Target: `bindings: {{{binding}: {{{key}: {{value: ...}}}}}}`"
    ))
}
