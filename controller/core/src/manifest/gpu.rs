//! GPUs that a container is given.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByteQuantity;

/// Whole GPUs of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gpu {
    /// How many.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub count: u32,
    /// Who made them.
    #[serde(default)]
    pub vendor: GpuVendor,
    /// Which product, as the target calls it: `NVIDIA-L4`; any if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = super::grammar::GPU_MODEL.pattern))]
    pub model: Option<String>,
    /// Memory that each has at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteQuantity>,
}

impl Default for Gpu {
    fn default() -> Self {
        Self {
            count: one(),
            vendor: GpuVendor::default(),
            model: None,
            memory: None,
        }
    }
}

/// Who made a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GpuVendor {
    #[default]
    Nvidia,
    Amd,
    Intel,
}

fn one() -> u32 {
    1
}
