//! OCI runtime: namespaces, cgroups, mounts, seccomp; library and the binary portolan-runtime

pub mod capabilities;
pub mod error;
mod mounts;
pub mod root;
pub mod seccomp;
pub mod spec;
mod sys;
