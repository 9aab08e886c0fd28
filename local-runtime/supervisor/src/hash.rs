//! Hashes for names: of what has to be told apart, in as many digits as a name has room for.

use sha2::{Digest, Sha256};

pub fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
