//! The platform's own store of secrets. Of a request that it refuses it says which values it would have had; the provider repeats
//! that without them.

use std::collections::BTreeMap;

use portolan_provider_api::{CallError, WriteRequest};

#[derive(Clone, Default)]
pub struct Vault {
    /// By `name/key`.
    pub values: BTreeMap<String, String>,
    /// The provider repeats values too: for whoever wants to see that this does not go unnoticed.
    pub is_repeated: bool,
}

/// How a body refers to a secret.
pub fn reference(name: &str) -> String {
    format!("secret {name}")
}

impl Vault {
    /// What the provider makes of the platform's refusal.
    pub fn explain(&self, request: &WriteRequest, error: CallError) -> CallError {
        if self.values.is_empty() {
            return error;
        }
        let body = request.body.to_string();
        let used = self.values.iter().filter(|(name, _)| body.contains(&reference(name)));
        let said = used.map(|(name, value)| format!("{name} is {value}"));
        let told = said.map(|said| if self.is_repeated { said } else { self.left_out(&said) });
        let evidence = error.evidence.iter().cloned().chain(told).collect();
        error.with_evidence(evidence)
    }

    fn left_out(&self, said: &str) -> String {
        let leave_out = |said: String, (name, value): (&String, &String)| said.replace(value, &reference(name));
        self.values.iter().fold(said.to_string(), leave_out)
    }
}

#[cfg(test)]
mod tests {
    use portolan_core::plan::Verb;
    use portolan_core::resource::ResourceId;
    use portolan_provider_api::ErrorClass;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_is_told_without_values() {
        let mut vault = Vault {
            values: BTreeMap::from([("db/password".to_string(), "a \"b\"".to_string())]),
            is_repeated: false,
        };
        let request = WriteRequest {
            verb: Verb::Create,
            id: ResourceId::new("Service", "web"),
            body: json!({ "env": { "PASSWORD": reference("db/password") } }),
            revision: None,
            etag: None,
            generation: 1,
            idempotency_token: String::new(),
            take_over: false,
            erase_data: false,
        };
        let refused = || CallError::new(ErrorClass::Invalid, "Invalid", "no");
        let told = vault.explain(&request, refused()).evidence;
        assert_eq!(told, ["db/password is secret db/password"]);
        vault.is_repeated = true;
        let told = vault.explain(&request, refused()).evidence;
        assert_eq!(told, ["db/password is a \"b\""]);
    }
}
