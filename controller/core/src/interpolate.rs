//! `${...}` in environment values: what another service's address is, and what a binding's value is.
//!
//! A [`Template`] is parsed once and resolved for each target. Text besides references is kept byte for byte; `$${`
//! stands for a plain `${`, and a `$` that no `{` follows is itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value with references in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Literals are never empty and never beside each other.
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    Literal(String),
    Reference(Reference),
}

/// What a `${...}` names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reference {
    /// `${services.NAME.url}`, `.host` or `.port`: of the service's first port.
    Service { service: String, field: ServiceField },
    /// `${uses.NAME.url}`, `.host` or `.port`: of a service of another app.
    Use { name: String, field: ServiceField },
    /// `${bindings.NAME.KEY}`: what the Target gives for it, which may be a secret.
    Binding { binding: String, key: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServiceField {
    /// `http://catalog:8080`; `tcp://` for a tcp port.
    Url,
    Host,
    Port,
}

/// A `${` that is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    #[error("`{text}` is not closed")]
    Unclosed { text: String },
    #[error("`{text}` names nothing that can stand here")]
    Unknown { text: String },
    #[error("`{text}` asks a service for `{field}`")]
    UnknownField { text: String, field: String },
}

impl InvalidTemplate {
    /// The part of the value that is wrong.
    pub fn text(&self) -> &str {
        match self {
            Self::Unclosed { text } | Self::Unknown { text } | Self::UnknownField { text, .. } => text,
        }
    }
}

impl ServiceField {
    pub const ALL: [Self; 3] = [Self::Url, Self::Host, Self::Port];

    /// `text` is the whole reference.
    fn parse(field: &str, text: &str) -> Result<Self, InvalidTemplate> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == field);
        known.ok_or_else(|| InvalidTemplate::UnknownField {
            text: shortened(text),
            field: field.to_string(),
        })
    }

    /// As the manifest says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Host => "host",
            Self::Port => "port",
        }
    }
}

impl Template {
    pub fn parse(value: &str) -> Result<Self, InvalidTemplate> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), value);
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = &from[2..];
                continue;
            }
            literal.push_str(before);
            let end = from
                .find('}')
                .ok_or_else(|| InvalidTemplate::Unclosed { text: shortened(from) })?;
            push_literal(&mut parts, &mut literal);
            parts.push(Part::Reference(Reference::parse(&from[..=end])?));
            rest = &from[end + 1..];
        }
        literal.push_str(rest);
        push_literal(&mut parts, &mut literal);
        Ok(Self { parts })
    }

    /// The references, in the order of the text.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.parts.iter().filter_map(|part| match part {
            Part::Reference(reference) => Some(reference),
            Part::Literal(_) => None,
        })
    }

    /// The text, if there is no reference in it.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with every reference replaced; the first one without a value ends it.
    pub fn try_fill<E>(&self, mut value_of: impl FnMut(&Reference) -> Result<String, E>) -> Result<String, E> {
        self.parts.iter().try_fold(String::new(), |text, part| match part {
            Part::Literal(literal) => Ok(text + literal),
            Part::Reference(reference) => Ok(text + &value_of(reference)?),
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(&text.replace("${", "$${")),
            Part::Reference(reference) => reference.fmt(f),
        })
    }
}

impl Reference {
    /// `text` is a whole `${...}`.
    fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let inner = text.trim_start_matches("${").trim_end_matches('}');
        match inner.split('.').collect::<Vec<_>>().as_slice() {
            ["services", service, field] if !service.is_empty() => Ok(Self::Service {
                service: (*service).to_string(),
                field: ServiceField::parse(field, text)?,
            }),
            ["uses", name, field] if !name.is_empty() => Ok(Self::Use {
                name: (*name).to_string(),
                field: ServiceField::parse(field, text)?,
            }),
            ["bindings", binding, key] if !binding.is_empty() && !key.is_empty() => Ok(Self::Binding {
                binding: (*binding).to_string(),
                key: (*key).to_string(),
            }),
            _ => Err(InvalidTemplate::Unknown { text: shortened(text) }),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { service, field } => write!(f, "${{services.{service}.{}}}", field.as_str()),
            Self::Use { name, field } => write!(f, "${{uses.{name}.{}}}", field.as_str()),
            Self::Binding { binding, key } => write!(f, "${{bindings.{binding}.{key}}}"),
        }
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal)));
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Part {
        Part::Literal(text.to_string())
    }

    fn service(service: &str, field: ServiceField) -> Part {
        Part::Reference(Reference::Service {
            service: service.to_string(),
            field,
        })
    }

    #[test]
    fn a_value_is_literals_and_references() {
        let binding = Part::Reference(Reference::Binding {
            binding: "db".into(),
            key: "url".into(),
        });
        let cases: Vec<(&str, Vec<Part>, &str)> = vec![
            ("", vec![], "nothing"),
            ("info", vec![literal("info")], "plain text"),
            ("${bindings.db.url}", vec![binding.clone()], "a reference alone"),
            (
                "${services.a.url}/x?h=${services.b.host}",
                vec![
                    service("a", ServiceField::Url),
                    literal("/x?h="),
                    service("b", ServiceField::Host),
                ],
                "text around references",
            ),
            (
                "$HOME costs $5",
                vec![literal("$HOME costs $5")],
                "a dollar alone is itself",
            ),
            ("$${HOME}", vec![literal("${HOME}")], "the escape"),
            (
                "$$${bindings.db.url}",
                vec![literal("$${bindings.db.url}")],
                "the last dollar before it escapes",
            ),
            (
                "a$${b}${bindings.db.url}",
                vec![literal("a${b}"), binding],
                "an escape before a reference",
            ),
        ];
        for (text, parts, reason) in cases {
            let template = Template::parse(text).expect(reason);
            assert_eq!(template, Template { parts }, "{reason}");
            assert_eq!(
                Template::parse(&template.to_string()),
                Ok(template),
                "{reason}: printed and read again"
            );
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let cases = [
            (
                "${HOME}",
                "`${HOME}` names nothing that can stand here",
                "a shell's variable",
            ),
            ("x${services.a.url", "`${services.a.url` is not closed", "no end"),
            (
                "${services.a.adress}",
                "`${services.a.adress}` asks a service for `adress`",
                "no such field",
            ),
            (
                "${services.a}",
                "`${services.a}` names nothing that can stand here",
                "too short",
            ),
            (
                "${bindings.a.b.c}",
                "`${bindings.a.b.c}` names nothing that can stand here",
                "too long",
            ),
            (
                "${bindings..url}",
                "`${bindings..url}` names nothing that can stand here",
                "no name",
            ),
        ];
        for (text, expected, reason) in cases {
            assert_eq!(Template::parse(text).unwrap_err().to_string(), expected, "{reason}");
        }
    }

    #[test]
    fn references_are_filled_in() {
        let template = Template::parse("${services.a.host}:${services.a.port}").unwrap();
        let filled = template.try_fill(|reference| match reference {
            Reference::Service {
                field: ServiceField::Host,
                ..
            } => Ok("a".to_string()),
            Reference::Service {
                field: ServiceField::Port,
                ..
            } => Ok("80".to_string()),
            other => Err(other.clone()),
        });
        assert_eq!(filled, Ok("a:80".to_string()));
        assert_eq!(template.references().count(), 2);
    }
}
