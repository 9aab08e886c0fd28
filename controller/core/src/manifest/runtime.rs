//! What a container is kept apart from its machine by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which runtime runs the containers of a workload: the target's own; `gvisor`, a kernel in user space between a container
/// and the machine's; `kata`, a small virtual machine for each replica; `wasm`, a WebAssembly module in place of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Runtime {
    #[default]
    Default,
    Gvisor,
    Kata,
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
