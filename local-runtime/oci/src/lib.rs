//! OCI runtime: namespaces, mounts, capabilities and seccomp of one container; library and the program
//! `portolan-runtime`.
//!
//! It knows bundles (OCI runtime-spec) and nothing above them: no image, no app, no async runtime. All system calls of
//! the project that want `unsafe` are here, each with its reason. The caller of a verb that makes a process (`create`, `run`,
//! `exec`) must have one thread and have called [`own_program::protect`], which is why builder and supervisor start the
//! program for these; the other verbs may be called from anywhere.
//!
//! Read [`create`] first: it is a container from configuration to a process that waits for its start; then `init`, which
//! is that process, and `mounts`. The other verbs are short. `container` is what is kept between verbs.

mod bundle;
pub mod capabilities;
pub mod cgroup;
mod container;
pub mod create;
pub mod delete;
pub mod error;
pub mod exec;
mod identity;
mod init;
pub mod kill;
mod mounts;
mod namespaces;
pub mod own_program;
mod process;
pub mod root;
pub mod run;
pub mod seccomp;
pub mod spec;
pub mod start;
pub mod state;
mod sys;
mod sysctl;
mod terminal;
pub mod userns;

pub use container::Store;
