//! The command lines of a control plane's programs. Each flag that is not plain has its reason.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Result;
use crate::kwok;
use crate::place::Place;
use crate::tools::Tools;

/// Below the range that the kernel hands out, as all of these.
pub(crate) const API_PORT: u16 = 6443;
const ETCD_PORT: u16 = 2379;
/// Where Services have their addresses, and where the first of them is, the API server's.
const SERVICES: &str = "10.96.0.0/16";
pub(crate) const FIRST_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// What is to run, where, and where its files are.
pub(crate) struct Programs<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) place: &'a Place,
    pub(crate) folder: &'a Path,
}

impl Programs<'_> {
    pub(crate) fn etcd(&self) -> Command {
        let clients = format!("http://{}:{ETCD_PORT}", self.place.address);
        let peers = format!("http://{}:{}", self.place.address, ETCD_PORT + 1);
        let mut command = self.command("etcd");
        command.arg("--data-dir").arg(self.file("etcd"));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.arg("--initial-cluster").arg(format!("default={peers}"));
        // What it holds is gone with the test, so a machine that loses power loses nothing.
        command.args(["--unsafe-no-fsync", "--log-level=warn"]);
        command
    }

    pub(crate) fn api_server(&self) -> Command {
        let mut command = self.command("kube-apiserver");
        let address = self.place.address.to_string();
        // It would look for a default route to learn an address, and not take a loopback one.
        command.args(["--bind-address", &address, "--advertise-address", &address]);
        command.args(["--secure-port", &API_PORT.to_string()]);
        // A loopback address may not be an Endpoint.
        if self.place.address.is_loopback() {
            command.arg("--endpoint-reconciler-type=none");
        }
        command.args(["--etcd-servers", &format!("http://{address}:{ETCD_PORT}")]);
        command.args(["--service-cluster-ip-range", SERVICES, "--authorization-mode=RBAC"]);
        command.args(["--service-account-issuer=https://kubernetes.default.svc"]);
        command.args([
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
        ]);
        for (flag, file) in [
            ("--tls-cert-file", "server.crt"),
            ("--tls-private-key-file", "server.key"),
            ("--client-ca-file", "authority.crt"),
            ("--service-account-key-file", "accounts.pub"),
            ("--service-account-signing-key-file", "accounts.key"),
            ("--kubelet-client-certificate", "kubelet-client.crt"),
            ("--kubelet-client-key", "kubelet-client.key"),
            ("--audit-policy-file", "audit-policy.json"),
            ("--audit-log-path", "audit.log"),
        ] {
            command.arg(flag).arg(self.file(file));
        }
        command
    }

    pub(crate) fn controller_manager(&self) -> Command {
        let mut command = self.asking("kube-controller-manager", "controller-manager.kubeconfig");
        command
            .arg("--service-account-private-key-file")
            .arg(self.file("accounts.key"));
        command.arg("--root-ca-file").arg(self.file("authority.crt"));
        // As itself and not as an account for each controller, so that the audit log knows it by one name.
        command.arg("--use-service-account-credentials=false");
        command
    }

    pub(crate) fn scheduler(&self) -> Command {
        self.asking("kube-scheduler", "scheduler.kubeconfig")
    }

    pub(crate) fn kwok(&self) -> Result<Command> {
        let mut command = self.command("kwok");
        command.arg("--kubeconfig").arg(self.file("kwok.kubeconfig"));
        command.args(["--manage-all-nodes=true", "--node-lease-duration-seconds=40"]);
        for file in kwok::stages(self.tools)? {
            command.arg("--config").arg(file);
        }
        Ok(command)
    }

    /// What controller manager and scheduler share. There is one of each, so nobody contends for a lease; and they ask
    /// as fast as they can, so that what is measured on this control plane is not their patience.
    fn asking(&self, program: &str, file: &str) -> Command {
        let mut command = self.command(program);
        for flag in [
            "--kubeconfig",
            "--authentication-kubeconfig",
            "--authorization-kubeconfig",
        ] {
            command.arg(flag).arg(self.file(file));
        }
        command.args([
            "--bind-address",
            &self.place.address.to_string(),
            "--leader-elect=false",
        ]);
        command.args(["--kube-api-qps=1000", "--kube-api-burst=2000"]);
        command.arg("--cert-dir").arg(self.file(program));
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.place.command(self.tools.program(program));
        // Nothing of the user's own: KWOK reads a file of its name there.
        command.env("HOME", self.file("home"));
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
