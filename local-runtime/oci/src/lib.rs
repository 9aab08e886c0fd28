//! OCI runtime: namespaces, cgroups, mounts, seccomp; library and the binary portolan-runtime

pub mod capabilities;
pub mod seccomp;
pub mod spec;
