//! How much of what containers write is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteQuantity, HumanDuration};

/// How much is kept of what each container of a service or job writes: at most `maxSize` times `maxFiles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    /// Size at which a file is full and the next one begins; at least `128Ki`, so that the longest line fits.
    #[serde(default = "default_max_size")]
    pub max_size: ByteQuantity,
    /// Files of one container, the one that is written among them. The oldest goes when there are more.
    #[serde(default = "default_max_files")]
    #[schemars(range(min = 1, max = 100))]
    pub max_files: u32,
    /// How long a line is kept at most; without it, until its file is one too many. Files go as a whole, so a line may go
    /// earlier by a part of this time, one in `maxFiles`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<HumanDuration>,
}

impl Logs {
    /// The smallest `maxSize`: twice the longest line that is read at once.
    pub const SMALLEST_FILE: ByteQuantity = ByteQuantity::from_bytes(128 << 10);
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            max_size: default_max_size(),
            max_files: default_max_files(),
            max_age: None,
        }
    }
}

fn default_max_size() -> ByteQuantity {
    ByteQuantity::from_bytes(10 << 20)
}

fn default_max_files() -> u32 {
    3
}
