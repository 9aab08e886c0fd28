//! How much is kept of what containers write.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::optional_millis;

/// For each container of a pod alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSpec {
    /// At which a file is full; not below [`LogSpec::SMALLEST_FILE_BYTES`].
    #[serde(default = "ten_mebibytes")]
    pub max_size_bytes: u64,
    /// With the one that is written: 1 to [`LogSpec::MOST_FILES`].
    #[serde(default = "three")]
    pub max_files: u32,
    /// How long a line is kept at most.
    #[serde(
        default,
        rename = "max_age_ms",
        with = "optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_age: Option<Duration>,
}

impl LogSpec {
    /// Any line that is read at once fits.
    pub const SMALLEST_FILE_BYTES: u64 = 128 << 10;
    pub const MOST_FILES: u32 = 100;

    /// A file is written for this long at most, so that all files together are as old as a line may be.
    pub fn file_age(&self) -> Option<Duration> {
        self.max_age.map(|age| age / self.max_files.max(1))
    }
}

impl Default for LogSpec {
    fn default() -> LogSpec {
        LogSpec {
            max_size_bytes: ten_mebibytes(),
            max_files: three(),
            max_age: None,
        }
    }
}

fn ten_mebibytes() -> u64 {
    10 << 20
}

fn three() -> u32 {
    3
}
