//! Dockerfile to OCI image to registry: build, store, pull, push.
//!
//! This crate owns images as bytes: the local [`store`] (an OCI image layout with the unpacked layers beside it), the
//! [`layer`] format in both directions, the [`registry`] client and the [`import`] of what other tools made. It
//! refuses to know who runs an image, what a manifest of an application is, and how a terminal looks: it never
//! prints, and tells its [`progress`] to whoever asks.
//!
//! Whatever comes from outside is hostile until checked: blobs are verified while they stream in, archives are read
//! by a strict reader and written beneath one directory descriptor, credentials leave for their own registry alone.
//!
//! Read first: [`store`] for what is kept where, then [`layer::unpack`] for how a layer becomes a directory.

mod adapter;
pub mod build;
pub mod config;
pub mod dockerfile;
pub mod error;
pub mod ignore;
pub mod import;
pub mod layer;
pub mod manifest;
pub mod progress;
pub mod registry;
pub mod store;
mod userns;

pub use adapter::{ImageEvent, ImagesOptions, ImagesProgress, LocalImages, ReferencedImages};
pub use config::ImageConfig;
pub use error::{Error, ErrorClass, Result};
pub use manifest::{Descriptor, Document, Index, Manifest, Platform};
pub use portolan_core::reference::{Algorithm, Digest, ImageReference};
pub use progress::{Progress, Silent};
pub use store::{Content, Store};
