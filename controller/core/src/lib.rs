//! Manifest, desired state, resources, plan and status; the pure steps between them.
//!
//! core knows no cloud, clock, network, file system, terminal or async runtime. Its functions take values and give
//! values, and all faults come back as a list. The way through it, one file a step:
//!
//! [`parse`] -> [`manifest`] -> [`facts`] -> [`resolve`] -> [`desired`] -> (a provider renders [`resource`]s)
//! -> [`plan`] against an [`observation`] -> [`status`]

pub mod capability;
pub mod desired;
pub mod diagnostic;
pub mod explain;
pub mod facts;
pub mod fault;
pub mod init;
pub mod interpolate;
pub mod manifest;
pub mod mutant;
pub mod name;
pub mod observation;
pub mod parse;
pub mod plan;
pub mod reference;
pub mod resolve;
pub mod resource;
pub mod rules;
pub mod schema;
pub mod status;
