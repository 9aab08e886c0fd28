//! OCI runtime: namespaces, cgroups, mounts, seccomp; library and the binary portolan-runtime

pub mod capabilities;
pub mod error;
pub mod root;
pub mod seccomp;
pub mod spec;
