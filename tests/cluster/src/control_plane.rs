//! A control plane: etcd, the API server, controller manager and scheduler, and KWOK for its nodes.
//!
//! Its flow: make certificates, start etcd and the API server, wait until that is ready, make the nodes, start the
//! others, and wait until a service account gets a token, which takes all of them but the scheduler.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::certificates::{Authority, signing_key};
use crate::error::{Error, Result};
use crate::kubeconfig::kubeconfig;
use crate::processes::Processes;
use crate::tools::Tools;
use crate::wait::until;
use crate::{address, audit, kwok};

const API_PORT: u16 = 6443;
const ETCD_PORT: u16 = 2379;
/// Where Services have their addresses, and where the first of them is, the API server's.
const SERVICES: &str = "10.96.0.0/16";
const FIRST_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Users in this group may do anything.
const ADMINISTRATORS: &str = "system:masters";
/// On two loaded cores; without a load it takes two to four seconds.
const LIMIT: Duration = Duration::from_secs(120);
const USUAL_NODES: usize = 3;

/// A running one. It ends when it is dropped, and with its process.
pub struct ControlPlane {
    processes: Processes,
    tools: Tools,
    authority: Authority,
    address: Ipv4Addr,
}

impl ControlPlane {
    /// Starts one with three nodes, each with room for 2,000 pods.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] where its programs are not built.
    pub fn start() -> Result<Self> {
        Self::with_nodes(USUAL_NODES)
    }

    pub fn with_nodes(count: usize) -> Result<Self> {
        let mut plane = Self {
            tools: Tools::find(&["control-plane"])?,
            processes: Processes::new()?,
            authority: Authority::new()?,
            address: address::free(API_PORT)?,
        };
        plane.write_files()?;
        plane.processes.start("etcd", plane.etcd())?;
        plane.processes.start("kube-apiserver", plane.api_server())?;
        plane.wait_for("the API server is ready", &["get", "--raw", "/readyz"])?;
        let kwok = kwok::command(&plane.tools, &plane.file("kwok.kubeconfig"))?;
        plane.processes.start("kwok", kwok)?;
        plane
            .processes
            .start("kube-controller-manager", plane.controller_manager())?;
        plane.processes.start("kube-scheduler", plane.scheduler())?;
        plane.apply(&kwok::nodes(count).to_string())?;
        plane.wait_for("service accounts get tokens", &["create", "token", "default"])?;
        Ok(plane)
    }

    /// Of a cluster administrator, by client certificate.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("admin.kubeconfig")
    }

    /// Of a user who may do what its RBAC roles say, and nothing without one. It is written anew at each call.
    pub fn kubeconfig_of(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let path = self.file(&format!("{}.kubeconfig", user.replace(['/', ':'], "-")));
        let identity = self.authority.user(user, group)?;
        write(&path, &kubeconfig(&self.server(), &self.authority, &identity))?;
        Ok(path)
    }

    /// `https://ADDRESS:PORT`
    pub fn server(&self) -> String {
        format!("https://{}:{API_PORT}", self.address)
    }

    /// A program that finds this cluster as a user's would: by `KUBECONFIG`, and kubectl in its `PATH`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = vec![self.tools.folder().to_path_buf()];
        folders.extend(std::env::split_paths(&path));
        // A folder with a colon in its name cannot be in a PATH; the program is then found as it would be without us.
        command.env("PATH", std::env::join_paths(folders).unwrap_or(path));
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.file("home"));
        command.stdin(Stdio::null());
        command
    }

    /// What kubectl answers.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.kubectl_command(arguments);
        let output = command.output().map_err(Error::system("run kubectl"))?;
        answer(arguments, output)
    }

    /// Creates or changes the objects of a manifest, in YAML or JSON.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let arguments = ["apply", "--server-side", "--validate=false", "-f", "-"];
        let mut command = self.kubectl_command(&arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = || Error::system("run kubectl");
        let mut child = command.spawn().map_err(failed())?;
        let mut input = child.stdin.take().expect("it was given a pipe");
        let written = input.write_all(manifest.as_bytes());
        drop(input);
        let output = child.wait_with_output().map_err(failed())?;
        let answer = answer(&arguments, output)?;
        written.map_err(failed())?;
        Ok(answer)
    }

    /// Every request until now, in the order of their answers.
    pub fn audit(&self) -> Result<Vec<audit::Entry>> {
        let path = self.file("audit.log");
        let log = fs::read_to_string(&path).map_err(Error::system(format!("read {}", path.display())))?;
        Ok(audit::entries(&log))
    }

    /// Logs of its programs, `NAME.log` each.
    pub fn logs(&self) -> PathBuf {
        self.file("logs")
    }

    /// Ends all of it and removes its files; the same as to drop it.
    pub fn stop(self) {}

    fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(self.tools.program("kubectl"));
        command.args(arguments);
        command
    }

    fn wait_for(&mut self, what: &str, question: &[&str]) -> Result<String> {
        until(what, LIMIT, || {
            self.processes.all_run()?;
            Ok(self.kubectl(question).ok())
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.processes.folder().join(name)
    }

    fn write_files(&self) -> Result<()> {
        write(&self.file("authority.crt"), &self.authority.certificate())?;
        write(&self.file("accounts.key"), &signing_key()?)?;
        write(&self.file("audit-policy.json"), &audit::policy().to_string())?;
        let addresses = [IpAddr::V4(self.address), IpAddr::V4(FIRST_SERVICE)];
        let hosts = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let server = self.authority.server("kube-apiserver", &addresses, &hosts)?;
        server.write(self.processes.folder(), "server")?;
        for (file, user) in [
            ("admin", "admin"),
            ("controller-manager", "system:kube-controller-manager"),
            ("scheduler", "system:kube-scheduler"),
            ("kwok", "kwok"),
        ] {
            let identity = self.authority.user(user, Some(ADMINISTRATORS))?;
            let text = kubeconfig(&self.server(), &self.authority, &identity);
            write(&self.file(&format!("{file}.kubeconfig")), &text)?;
        }
        Ok(())
    }

    fn etcd(&self) -> Command {
        let clients = format!("http://{}:{ETCD_PORT}", self.address);
        let peers = format!("http://{}:{}", self.address, ETCD_PORT + 1);
        let mut command = Command::new(self.tools.program("etcd"));
        command.arg("--data-dir").arg(self.file("etcd"));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.arg("--initial-cluster").arg(format!("default={peers}"));
        // What it holds is gone with the test, so a machine that loses power loses nothing.
        command.args(["--unsafe-no-fsync", "--log-level=warn"]);
        command
    }

    fn api_server(&self) -> Command {
        let mut command = Command::new(self.tools.program("kube-apiserver"));
        let address = self.address.to_string();
        command.args(["--bind-address", &address, "--advertise-address", &address]);
        command.args(["--secure-port", &API_PORT.to_string(), "--endpoint-reconciler-type=none"]);
        command.args(["--etcd-servers", &format!("http://{address}:{ETCD_PORT}")]);
        command.args(["--service-cluster-ip-range", SERVICES, "--authorization-mode=RBAC"]);
        command.args(["--service-account-issuer=https://kubernetes.default.svc"]);
        for (flag, file) in [
            ("--tls-cert-file", "server.crt"),
            ("--tls-private-key-file", "server.key"),
            ("--client-ca-file", "authority.crt"),
            ("--service-account-key-file", "accounts.key"),
            ("--service-account-signing-key-file", "accounts.key"),
            ("--audit-policy-file", "audit-policy.json"),
            ("--audit-log-path", "audit.log"),
        ] {
            command.arg(flag).arg(self.file(file));
        }
        command
    }

    fn controller_manager(&self) -> Command {
        let mut command = self.with_kubeconfig("kube-controller-manager", "controller-manager.kubeconfig");
        let (accounts, authority) = (self.file("accounts.key"), self.file("authority.crt"));
        command.arg("--service-account-private-key-file").arg(accounts);
        command.arg("--root-ca-file").arg(authority);
        // As itself and not as an account for each controller, so that the audit log knows it by one name.
        command.arg("--use-service-account-credentials=false");
        command
    }

    fn scheduler(&self) -> Command {
        self.with_kubeconfig("kube-scheduler", "scheduler.kubeconfig")
    }

    /// What controller manager and scheduler share. There is one of each, so nobody contends for a lease; and they ask as
    /// fast as they can, so that what is measured on this control plane is not their patience.
    fn with_kubeconfig(&self, program: &str, file: &str) -> Command {
        let mut command = Command::new(self.tools.program(program));
        for flag in ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"] {
            command.arg(flag).arg(self.file(file));
        }
        command.args(["--bind-address", &self.address.to_string(), "--leader-elect=false"]);
        command.args(["--kube-api-qps=1000", "--kube-api-burst=2000"]);
        command.arg("--cert-dir").arg(self.file(program));
        command
    }
}

fn answer(arguments: &[&str], output: Output) -> Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(Error::Command {
            command: format!("kubectl {}", arguments.join(" ")),
            said: text(&output.stderr).trim().to_string(),
        }),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::system(format!("write {}", path.display())))
}
