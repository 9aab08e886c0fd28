//! What a container is kept apart from its machine by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which runtime runs the containers of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Runtime {
    /// The target's own.
    #[default]
    Default,
    /// A kernel in user space between the container and the machine's.
    Gvisor,
    /// A small virtual machine for each replica.
    Kata,
    /// A WebAssembly module in place of a Linux process.
    Wasm,
}

impl Runtime {
    /// As the manifest says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Gvisor => "gvisor",
            Self::Kata => "kata",
            Self::Wasm => "wasm",
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::Default
    }
}
