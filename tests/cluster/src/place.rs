//! Where a cluster's programs run: among everybody's, on a loopback address of their own, or in namespaces of a node.

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::process::Command;

use crate::address;
use crate::error::Result;

pub(crate) struct Place {
    /// Where the control plane listens.
    pub(crate) address: Ipv4Addr,
    /// What a command line begins with to get there.
    enter: Vec<OsString>,
}

impl Place {
    /// This machine as it is; `port` is one that is free there.
    pub(crate) fn here(port: u16) -> Result<Self> {
        Ok(Self {
            address: address::free(port)?,
            enter: Vec::new(),
        })
    }

    /// The mount and network namespaces of a process, and the process namespace that its children are in.
    pub(crate) fn of_children_of(pid: u32, address: Ipv4Addr) -> Self {
        let target = format!("--target={pid}");
        let processes = format!("--pid=/proc/{pid}/ns/pid_for_children");
        let words = ["nsenter", &target, "--mount", "--net", &processes, "--"];
        Self {
            address,
            enter: words.map(OsString::from).to_vec(),
        }
    }

    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self.enter.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        }
    }
}
