//! What the tests of this crate share.

pub mod archive;
pub mod server;
