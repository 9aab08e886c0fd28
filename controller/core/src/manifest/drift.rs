//! What a controller does about changes that somebody else makes at the target.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fields of a service that somebody else may change at the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Fields that a controller shows as drifted and leaves as it finds them, as `portolan plan` names them; one stands for
    /// all below it, as `pod.main.env` for each variable. All others are put back. Whoever types `apply` puts back these too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)), extend("x-kubernetes-list-type" = "set"))]
    pub observe: Vec<String>,
}

impl Drift {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.observe.is_empty()
    }

    /// Whether the field is one of those, or below one.
    pub fn observes(&self, field: &str) -> bool {
        self.observe.iter().any(|observed| {
            let rest = field.strip_prefix(observed.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_stands_for_all_below_it() {
        let drift = Drift {
            observe: vec!["replicas".into(), "pod.main.env".into()],
        };
        for (field, expected) in [
            ("replicas", true),
            ("replicasMax", false),
            ("pod.main.env.LEVEL", true),
            ("pod.main", false),
            ("", false),
        ] {
            assert_eq!(drift.observes(field), expected, "{field}");
        }
    }
}
