//! containerd, the network of its pods, and the image of the process that holds a pod's namespaces.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::control_plane::write;
use crate::error::{Error, Result};
use crate::image::{self, Image};
use crate::node::{Node, REGISTRY};
use crate::wait::until;

const PAUSE: &str = "portolan.test/pause:1";
/// It is killed, and never asked to end.
const PAUSE_SOURCE: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";
const PODS: &str = "10.244.0.0/24";
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn start(node: &mut Node, runtime: &Path) -> Result<()> {
    let folder = node.plane.file("");
    for name in ["cni", "registries", &format!("registries/{REGISTRY}")] {
        fs::create_dir(folder.join(name)).map_err(Error::system(format!("make {name}")))?;
    }
    write(&folder.join("cni/pods.conflist"), &network())?;
    let plain = format!("server = \"http://{REGISTRY}\"\n");
    write(&folder.join("registries").join(REGISTRY).join("hosts.toml"), &plain)?;
    let programs = node.plane.tools.folder().to_path_buf();
    let path = folder.join("containerd.toml");
    write(&path, &config(&folder, &programs, runtime))?;
    let mut command = node.plane.command("containerd");
    command.arg("--config").arg(&path);
    node.plane.processes.start("containerd", command)?;
    until("containerd answers", LIMIT, || {
        node.plane.processes.all_run()?;
        Ok(node.run("ctr", &["version"]).ok())
    })?;
    let mut pause = Image::new(PAUSE, &["/pause"]);
    pause.file("pause", &image::compiled(&folder, PAUSE_SOURCE)?);
    node.import(&pause)
}

/// Debian's containerd reads version 2 of its configuration.
fn config(folder: &Path, programs: &Path, runtime: &Path) -> String {
    let text = |path: &Path| format!("{:?}", path.display().to_string());
    let root = text(&folder.join("containerd"));
    let networks = text(&folder.join("cni"));
    let registries = text(&folder.join("registries"));
    let (programs, runtime) = (text(programs), text(runtime));
    // Whose parent may not lower its score for the kernel's choice when memory ends, may not either.
    format!(
        r#"version = 2
root = {root}
state = "/run/containerd"

[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = "{PAUSE}"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {programs}
conf_dir = {networks}

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = {registries}

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = {runtime}
"#
    )
}

/// A bridge on which each pod has an address, with a way in where a pod asks for a port of the node.
fn network() -> String {
    let bridge = json!({
        "type": "bridge",
        "bridge": "pods",
        "isGateway": true,
        "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
    });
    let ports = json!({"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}});
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}).to_string()
}
