//! Layers: archives of changes to a directory tree, read and written.
//!
//! [`unpack`] turns an untrusted archive into a directory; [`pack`] turns a directory, or the upper directory of an
//! overlay, into an archive that is the same whenever the directory is. Between the two lies [`tar`], a reader and a
//! writer of our own: the published crates are lenient where archives disagree with themselves (two sizes, entries
//! that a second reader would see elsewhere), and such disagreements are how entries are smuggled past a check. Here
//! whatever has two readings is refused.
//!
//! Whiteouts change their form on the way. In an archive, `.wh.NAME` removes NAME of the layers below and
//! `.wh..wh..opq` hides a directory's whole former content (OCI image specification, "layer.md"). In a directory they
//! are what overlayfs understands: a character device 0:0, and the attribute `trusted.overlay.opaque`
//! (`userns.rs` says where it is another).

mod compression;
mod fault;
mod limits;
mod pack;
mod root;
pub mod tar;
mod unpack;
mod walk;

pub use compression::Compression;
pub use fault::Fault;
pub use limits::Limits;
pub use pack::{PackOptions, PackedLayer, compress, pack};
pub use unpack::{UnpackOptions, UnpackedLayer, Whiteouts, unpack};

/// Begins the name of each whiteout in an archive.
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// In an archive, makes the directory that it lies in opaque.
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
