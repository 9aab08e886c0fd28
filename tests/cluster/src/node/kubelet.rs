//! The kubelet, and what makes Services of addresses and names: kube-proxy and CoreDNS.

use std::path::Path;

use serde_json::json;

use crate::control_plane::{ControlPlane, write};
use crate::error::Result;
use crate::node::ADDRESS;

const DOMAIN: &str = "cluster.local";

pub(super) fn start(plane: &mut ControlPlane) -> Result<()> {
    let folder = plane.file("");
    write(&folder.join("kubelet.json"), &kubelet(&folder))?;
    write(&folder.join("kube-proxy.json"), &kube_proxy(&folder))?;
    write(&folder.join("Corefile"), &dns(&folder))?;

    let mut command = plane.command(plane.tools.program("kubelet"));
    command.arg("--config").arg(folder.join("kubelet.json"));
    command.arg("--kubeconfig").arg(folder.join("node.kubeconfig"));
    command.args(["--hostname-override=node", &format!("--node-ip={ADDRESS}")]);
    plane.processes.start("kubelet", command)?;

    let mut command = plane.command(plane.tools.program("kube-proxy"));
    command.arg("--config").arg(folder.join("kube-proxy.json"));
    plane.processes.start("kube-proxy", command)?;

    let mut command = plane.command(plane.tools.program("coredns"));
    command.arg("-conf").arg(folder.join("Corefile"));
    plane.processes.start("coredns", command)?;
    Ok(())
}

/// It takes the machine as it is: cgroups of the first version, swap, a disk that is nearly full. It keeps nothing of
/// the machine for itself, and may not lower its score for the kernel's choice when memory ends.
fn kubelet(folder: &Path) -> String {
    let cgroup = folder.file_name().unwrap_or_default().to_string_lossy();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": false}, "x509": {"clientCAFile": folder.join("authority.crt")}},
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "oomScoreAdj": 0,
        "maxOpenFiles": 20_000,
        "resolvConf": "/dev/null",
        "clusterDNS": [ADDRESS],
        "clusterDomain": DOMAIN,
    })
    .to_string()
}

/// The limits of the machine's connection table are not its to set.
fn kube_proxy(folder: &Path) -> String {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": folder.join("proxy.kubeconfig")},
        "hostnameOverride": "node",
        "oomScoreAdj": 0,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "nftables": {"syncPeriod": "10s", "minSyncPeriod": "100ms"},
    })
    .to_string()
}

/// Names of Services, and of nothing else.
fn dns(folder: &Path) -> String {
    let kubeconfig = folder.join("admin.kubeconfig");
    format!(
        ".:53 {{
    bind {ADDRESS}
    errors
    kubernetes {DOMAIN} {{
        kubeconfig {}
        ttl 1
    }}
}}
",
        kubeconfig.display()
    )
}
