//! Rules across fields of a manifest: each stands here once, for the parser and for the Kubernetes definitions.
//!
//! A rule is a [`Test`] of one part of a document. The parser evaluates it over the document's tree (`parse/check/rules.rs`), and
//! the API server evaluates its CEL (`x-kubernetes-validations`, written by the crate `portolan-crds`). Both say the same: the parser
//! with the names and lines that it knows, the API server with the general words, after the code that both give.
//!
//! What a test of one part cannot see, or an API server may not spend, is no rule: those checks are functions in `parse/check`.

mod table;
mod test;

use crate::parse::node::{Entry, Node};

pub use table::{app_rules, target_rules};
pub use test::Test;
pub(crate) use test::{Offender, at};

/// One rule.
pub struct Rule {
    /// Code of the error, and of a condition's reason.
    pub code: &'static str,
    /// Where it holds: names of fields between `/`; `*` is each value of a map, `[]` each item of a list.
    pub places: &'static [&'static str],
    /// Where it holds besides, in parts of which there may be so many that an API server would not take the rule.
    pub parser_places: &'static [&'static str],
    /// The field of the place that it is about, as in `scale.on`; empty for the place itself.
    pub field: &'static str,
    /// What has to be so.
    pub test: Test,
    /// What is said, with `{...}` for what only the parser knows; see [`Rule::words`].
    pub message: &'static str,
    /// The same for nobody in particular, where the message without its names is no sentence.
    pub general: Option<&'static str>,
    /// What to do about it.
    pub hint: Option<&'static str>,
    /// How the parser begins to say which keys there are; empty where the test knows none.
    pub(crate) known: &'static str,
    /// What kind of fault Kubernetes takes it for.
    pub reason: Reason,
    /// Why, of a fault of a part as a whole.
    pub(crate) cause: Option<&'static str>,
    /// What the parser says besides, of an entry that stands in the way of another one.
    pub(crate) because: Option<fn(&Entry, &Entry) -> String>,
    /// The parser's message and hint, where they depend on what stands there.
    pub(crate) said: Option<fn(&Node, usize) -> Said>,
}

/// A message, and a hint where it is another one than the rule's.
pub(crate) type Said = (String, Option<String>);

/// `reason` of `x-kubernetes-validations`. There would be one for duplicates, with which an API server leaves out the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Invalid,
    Forbidden,
    Required,
}

impl Reason {
    /// As Kubernetes says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Forbidden => "FieldValueForbidden",
            Self::Required => "FieldValueRequired",
        }
    }
}

impl Rule {
    /// A rule about a place itself, refused as [`Reason::Invalid`]; what differs is said by whoever makes it.
    const fn of(code: &'static str, places: &'static [&'static str], test: Test, message: &'static str) -> Self {
        Self {
            code,
            places,
            parser_places: &[],
            field: "",
            test,
            message,
            general: None,
            hint: None,
            known: "",
            reason: Reason::Invalid,
            cause: None,
            because: None,
            said: None,
        }
    }

    /// `NoImage: it has no image; hint: ...`: what the API server says.
    pub fn words(&self) -> String {
        let message = self.general.map_or_else(|| without_names(self.message), str::to_string);
        match self.hint {
            Some(hint) => format!("{}: {message}; hint: {}", self.code, self.general_hint(hint)),
            None => format!("{}: {message}", self.code),
        }
    }

    fn general_hint(&self, hint: &str) -> String {
        hint.replace("{said}", &self.test.choices())
    }
}

/// Every name in braces is `it`.
fn without_names(message: &str) -> String {
    let mut text = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        text.push_str("it");
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    text + rest
}

/// Where the schema of a place stands in that of the document.
pub fn schema_pointer(place: &str) -> String {
    let steps = place.split('/').map(|step| match step {
        "*" => "/additionalProperties".to_string(),
        "[]" => "/items".to_string(),
        name => format!("/properties/{name}"),
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_says_has_no_names_in_it() {
        for rule in app_rules().iter().chain(target_rules()) {
            let words = rule.words();
            assert!(!words.replace("${", "").contains("{said"), "{words}");
            assert!(words.starts_with(&format!("{}: ", rule.code)), "{words}");
            assert!(words.len() < 2048 && !words.contains('\n'), "{words}");
        }
    }

    #[test]
    fn every_rule_is_about_a_place_of_the_schema() {
        let places = |rules: &'static [Rule], schema: &'static serde_json::Value| {
            rules.iter().flat_map(move |rule| {
                let places = rule.places.iter().chain(rule.parser_places);
                places.map(move |place| (rule, place, schema))
            })
        };
        let app = places(app_rules(), crate::schema::app_schema());
        for (rule, place, schema) in app.chain(places(target_rules(), crate::schema::target_schema())) {
            let pointer = schema_pointer(place);
            let found = schema
                .pointer(&pointer)
                .unwrap_or_else(|| panic!("{} at {place}", rule.code));
            if !rule.field.is_empty() {
                let field = schema_pointer(&rule.field.replace('.', "/"));
                assert!(
                    found.pointer(&field).is_some(),
                    "{} at {place}: {}",
                    rule.code,
                    rule.field
                );
            }
        }
    }
}
