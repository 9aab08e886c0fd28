//! OCI runtime: namespaces, mounts, capabilities and seccomp of one container; library and the program
//! `portolan-runtime`.
//!
//! It knows bundles (OCI runtime-spec) and nothing above them: no image, no app, no async runtime. All system calls of
//! the project that want `unsafe` are here, each with its reason. The caller of [`run`] must have one thread, which is
//! why builder and supervisor start the program instead of calling the library.
//!
//! Read [`run`] first: it is a container from configuration to exit code in one file; then `mounts`.

pub mod capabilities;
pub mod cgroup;
pub mod error;
mod mounts;
pub mod root;
pub mod run;
pub mod seccomp;
pub mod spec;
mod sys;
