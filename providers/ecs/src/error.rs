//! What every call answers for now.

use portolan_provider_api::{CallError, ErrorClass};

/// Nothing at Amazon is looked at or written yet.
pub fn not_built_in() -> CallError {
    let message = "nothing is applied to Amazon ECS yet: this version renders for it, and checks what it renders";
    CallError::new(ErrorClass::Invalid, "ApplyUnsupported", message)
        .with_hint("`portolan render` prints the calls; `portolan check` says how each field is taken")
}
