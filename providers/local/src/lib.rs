//! This machine as a target.
//!
//! The platform is the supervisor (`local-runtime/supervisor`), one small process per app; this crate is its client, as
//! a cloud's provider is a client of the cloud. An app becomes one `Network`, and a `Volume`, `Job` or `Service` for each
//! that the manifest names; an `Image` is unpacked in the local store before what runs it.
//!
//! It refuses to know how containers are run (the supervisor does) and how images are built (the image crate does; what
//! this crate needs of it comes in as [`portolan_provider_api::Images`]). Read `render.rs` first, then `provider.rs`.

mod capabilities;
mod client;
pub mod doctor;
mod error;
mod explain;
mod logs;
mod operations;
mod preflight;
mod protocols;
mod provider;
mod read;
mod render;
mod stats;
pub mod translate;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

pub use client::folder_of;
use portolan_core::manifest::Egress;
use portolan_provider_api::{Images, Provider, Shape};

/// Where things are on this machine.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// The program `portolan-supervisor`.
    pub supervisor: PathBuf,
    /// The program `portolan-runtime`.
    pub runtime: PathBuf,
    /// Sockets and bundles; gone after a reboot. One folder an app below it.
    pub run_dir: PathBuf,
    /// State, logs and writable layers of containers.
    pub state_dir: PathBuf,
    /// Volumes and job records: what outlives the app.
    pub data_dir: PathBuf,
    pub target: TargetSettings,
}

/// What the Target says.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// Address of the host on which public ports answer.
    pub publish_address: Ipv4Addr,
    /// How containers reach what is outside their app.
    pub egress: Egress,
    /// Env files that hold secrets; a later one wins.
    pub secret_files: Vec<PathBuf>,
}

/// The pure half alone: enough to render, to compare and to report what this target can do.
pub fn shape(target: TargetSettings) -> Arc<dyn Shape> {
    Arc::new(render::LocalShape::new(target, render::room::memory_of_this_machine()))
}

/// The provider for one Target with `provider: local`.
pub fn local(settings: LocalSettings, images: Arc<dyn Images>) -> Provider {
    let shape = shape(settings.target.clone());
    let platform = Arc::new(client::Supervisors::new(settings));
    Provider {
        shape,
        calls: Arc::new(provider::LocalCalls::new(platform.clone(), images)),
        logs: Some(Arc::new(logs::LocalLogs::new(platform.clone()))),
        stats: Some(Arc::new(stats::LocalStats::new(platform.clone()))),
        exec: Some(Arc::new(operations::LocalExec::new(platform.clone()))),
        port_forward: None,
        run_job: Some(Arc::new(operations::LocalRunJob::new(platform.clone()))),
        promote: Some(Arc::new(operations::LocalPromote::new(platform))),
    }
}
