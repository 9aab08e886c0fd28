//! What is put into a container's file system: named volumes, and small files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteQuantity, grammar};

/// A named volume at a path. Containers of one app that name the same volume share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// Name of the volume in this app. Removing or renaming one that holds data needs `--allow-data-loss`.
    #[schemars(extend("pattern" = grammar::NAME.pattern))]
    pub name: String,
    /// Where it is in the container; an absolute path.
    #[schemars(extend("pattern" = grammar::ABSOLUTE_PATH.pattern))]
    pub path: String,
    /// How much it shall hold, as in `1Gi`, for targets that must be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteQuantity>,
    /// Whether the container may only read it.
    #[serde(default)]
    pub read_only: bool,
}

/// A text file at a path, read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileMount {
    /// Where it is in the container; an absolute path.
    #[schemars(extend("pattern" = grammar::ABSOLUTE_PATH.pattern))]
    pub path: String,
    /// The text, as it is: nothing in it is replaced. Never a secret.
    pub content: String,
}
