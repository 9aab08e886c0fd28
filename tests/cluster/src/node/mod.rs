//! A cluster of one node that runs pods: kubelet, containerd, kube-proxy and a DNS server beside the control plane.
//!
//! All of it is in mount, network and process namespaces of its own (`namespaces.rs`), so it changes nothing of the
//! machine's network, and everything ends with the first process there. What asks the cluster has to be there too:
//! [`Node::command`] starts it there. Pods have addresses of their own on a bridge, Services are balanced by
//! kube-proxy, and names of Services are known by DNS. Images are imported ([`Node::import`]) or pulled from a registry
//! that a test starts there on [`REGISTRY`].

mod containerd;
mod kubelet;
mod namespaces;

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::control_plane::{ControlPlane, answer};
use crate::error::{Error, Result};
use crate::image;
use crate::processes::Processes;
use crate::tools::Tools;

/// The node's address, where the API server, the kubelet and DNS listen.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The registry that the node asks by plain HTTP.
pub const REGISTRY: &str = "10.99.0.1:5000";

/// Programs of Debian packages that tests/run installs.
const OF_THE_MACHINE: &[&str] = &[
    "containerd",
    "ctr",
    "runc",
    "ip",
    "nft",
    "conntrack",
    "unshare",
    "nsenter",
    "gcc",
];

/// A running one. It ends, with all pods, when it is dropped, and with its process.
pub struct Node {
    plane: ControlPlane,
}

impl Node {
    /// Whether its programs are there, and this process may use them.
    pub fn can_start() -> Result<()> {
        can_run_here()?;
        tools().map(drop)
    }

    /// Starts one whose containers are runc's.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] where its programs are not built or installed, or this process is not root.
    pub fn start() -> Result<Self> {
        Self::with_runtime(Path::new("runc"))
    }

    /// One whose containers another OCI runtime starts.
    pub fn with_runtime(runtime: &Path) -> Result<Self> {
        can_run_here()?;
        let tools = tools()?;
        let mut processes = Processes::new()?;
        let place = namespaces::start(&mut processes)?;
        let mut node = Self {
            plane: ControlPlane::begin(tools, processes, place)?,
        };
        containerd::start(&mut node, runtime)?;
        kubelet::start(&mut node.plane)?;
        node.plane.settle()?;
        let ready = ["wait", "--for=condition=Ready", "node/node", "--timeout=1s"];
        node.plane.wait_for("the node is ready", &ready)?;
        Ok(node)
    }

    /// To ask it, as any other.
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// A program that runs where the node does, as [`ControlPlane::command`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.plane.command(program)
    }

    /// What a program there says, if it ends well.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(program).args(arguments).output();
        answer(
            program,
            arguments,
            output.map_err(Error::system(format!("run {program}")))?,
        )
    }

    /// Gives the node an image; pods name it as `image` does, with `imagePullPolicy: Never`.
    pub fn import(&self, image: &image::Image) -> Result<()> {
        let path = self.plane.file("image.tar");
        let failed = || Error::system(format!("write {}", path.display()));
        fs::write(&path, image.archive().map_err(failed())?).map_err(failed())?;
        let path = path.display().to_string();
        self.run("ctr", &["--namespace=k8s.io", "images", "import", &path])?;
        Ok(())
    }

    /// Ends all of it and removes its files; the same as to drop it.
    pub fn stop(self) {}
}

fn tools() -> Result<Tools> {
    Tools::find(&["control-plane", "node"])
}

fn can_run_here() -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root {
        let what = "a node needs root: it has cgroups, mounts and a network".to_string();
        return Err(Error::Missing { what });
    }
    let lacks: Vec<&str> = OF_THE_MACHINE
        .iter()
        .copied()
        .filter(|name| find(name).is_none())
        .collect();
    match lacks.is_empty() {
        true => Ok(()),
        false => Err(Error::Missing {
            what: format!("not installed: {}", lacks.join(", ")),
        }),
    }
}

/// A program's place in `PATH`.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}
