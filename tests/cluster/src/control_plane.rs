//! A control plane: etcd, the API server, controller manager and scheduler, and KWOK for its nodes.
//!
//! Its flow: write certificates, start etcd and the API server, wait until that is ready, start the others, and wait
//! until a service account gets a token, which takes all of them but the scheduler.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::certificates::{Authority, signing_key};
use crate::error::{Error, Result};
use crate::kubeconfig::kubeconfig;
use crate::place::Place;
use crate::processes::Processes;
use crate::programs::{API_PORT, FIRST_SERVICE, Programs};
use crate::tools::{self, Tools};
use crate::wait::until;
use crate::{audit, kwok};

/// Users in this group may do anything.
const ADMINISTRATORS: &str = "system:masters";
/// On two loaded cores; without a load it takes two to four seconds.
const LIMIT: Duration = Duration::from_secs(120);
const USUAL_NODES: usize = 3;

/// A running one. It ends when it is dropped, and with its process.
pub struct ControlPlane {
    pub(crate) processes: Processes,
    pub(crate) place: Place,
    pub(crate) tools: Tools,
    authority: Authority,
}

impl ControlPlane {
    /// Whether its programs are there.
    pub fn can_start() -> Result<()> {
        Tools::find(&["control-plane"]).map(drop)
    }

    /// Starts one with three nodes, each with room for 2,000 pods.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] where its programs are not built.
    pub fn start() -> Result<Self> {
        Self::with_nodes(USUAL_NODES)
    }

    pub fn with_nodes(count: usize) -> Result<Self> {
        let tools = Tools::find(&["control-plane"])?;
        let mut plane = Self::begin(tools, Processes::new()?, Place::here(API_PORT)?)?;
        plane.processes.start("kwok", plane.programs().kwok()?)?;
        if count > 0 {
            plane.apply(&kwok::nodes(count).to_string())?;
        }
        plane.settle()?;
        Ok(plane)
    }

    /// All of it but for nodes; [`ControlPlane::settle`] waits for the rest.
    pub(crate) fn begin(tools: Tools, processes: Processes, place: Place) -> Result<Self> {
        let authority = Authority::new()?;
        let mut plane = Self {
            processes,
            place,
            tools,
            authority,
        };
        plane.write_files()?;
        plane.processes.start("etcd", plane.programs().etcd())?;
        plane.processes.start("kube-apiserver", plane.programs().api_server())?;
        plane.listens()?;
        plane.wait_for("the API server is ready", &["get", "--raw", "/readyz"])?;
        plane
            .processes
            .start("kube-controller-manager", plane.programs().controller_manager())?;
        plane.processes.start("kube-scheduler", plane.programs().scheduler())?;
        Ok(plane)
    }

    pub(crate) fn settle(&mut self) -> Result<()> {
        self.wait_for("service accounts get tokens", &["create", "token", "default"])?;
        Ok(())
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

    /// Writes `tls.crt` and `tls.key`, as cert-manager would mount them, for a server at an address; signed by
    /// [`ControlPlane::authority`].
    pub fn certify(&self, address: IpAddr, folder: &Path) -> Result<()> {
        self.authority
            .server("a test's server", &[address], &[])?
            .write(folder, "tls")?;
        Ok(())
    }

    /// The certificate of its authority, as PEM.
    pub fn authority(&self) -> String {
        self.authority.certificate()
    }

    /// `https://ADDRESS:PORT`
    pub fn server(&self) -> String {
        format!("https://{}:{API_PORT}", self.place.address)
    }

    /// A program that finds this cluster as a user's would: by `KUBECONFIG`, with kubectl in its `PATH`, and a home of
    /// its own. Of a cluster in namespaces of its own it runs there.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.place.command(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = vec![self.tools.folder().to_path_buf()];
        folders.extend(std::env::split_paths(&path));
        // A folder with a colon in its name cannot be in a PATH; the program is then found as it would be without us.
        command.env("PATH", std::env::join_paths(folders).unwrap_or(path));
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.file("home"));
        command.stdin(Stdio::null());
        command
    }

    /// What kubectl answers.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(self.tools.program("kubectl"));
        let output = command.args(arguments).output();
        answer("kubectl", arguments, output.map_err(Error::system("run kubectl"))?)
    }

    /// Creates or changes the objects of a manifest, in YAML or JSON, by server-side apply; a field that the server does
    /// not know fails it.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let arguments = ["apply", "--server-side", "-f", "-"];
        let failed = || Error::system("run kubectl");
        let mut command = self.command(self.tools.program("kubectl"));
        command.args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed())?;
        let mut input = child.stdin.take().expect("it was given a pipe");
        let written = input.write_all(manifest.as_bytes());
        drop(input);
        let output = child.wait_with_output().map_err(failed())?;
        let answer = answer("kubectl", &arguments, output)?;
        written.map_err(failed())?;
        Ok(answer)
    }

    /// Installs the definitions of the Gateway API, of KEDA, of External Secrets and of the Secrets Store, without what keeps them.
    pub fn install_definitions(&self) -> Result<()> {
        let folder = tools::definitions()?;
        for name in [
            "gateways",
            "httproutes",
            "scaledobjects",
            "externalsecrets",
            "secretproviderclasses",
        ] {
            let path = folder.join(format!("{name}.yaml"));
            let definition = fs::read_to_string(&path).map_err(Error::system(format!("read {}", path.display())))?;
            self.apply(&definition)?;
        }
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?;
        Ok(())
    }

    /// Every request until now, in the order of their answers.
    pub fn audit(&self) -> Result<Vec<audit::Entry>> {
        let path = self.file("audit.log");
        let log = fs::read_to_string(&path).map_err(Error::system(format!("read {}", path.display())))?;
        Ok(audit::entries(&log))
    }

    /// What its programs say, `NAME.log` each.
    pub fn logs(&self) -> PathBuf {
        self.file("logs")
    }

    /// Ends all of it and removes its files; the same as to drop it.
    pub fn stop(self) {}

    /// Waits until the API server takes connections, where this process can see that; it is far cheaper than to ask.
    fn listens(&mut self) -> Result<()> {
        if !self.place.address.is_loopback() {
            return Ok(());
        }
        until("the API server listens", LIMIT, || {
            self.processes.all_run()?;
            Ok(TcpStream::connect((self.place.address, API_PORT)).ok())
        })?;
        Ok(())
    }

    pub(crate) fn wait_for(&mut self, what: &str, question: &[&str]) -> Result<String> {
        until(what, LIMIT, || {
            self.processes.all_run()?;
            Ok(self.kubectl(question).ok())
        })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.processes.folder().join(name)
    }

    fn programs(&self) -> Programs<'_> {
        Programs {
            tools: &self.tools,
            place: &self.place,
            folder: self.processes.folder(),
        }
    }

    fn write_files(&self) -> Result<()> {
        write(&self.file("authority.crt"), &self.authority.certificate())?;
        let (key, public_key) = signing_key()?;
        write(&self.file("accounts.key"), &key)?;
        write(&self.file("accounts.pub"), &public_key)?;
        write(&self.file("audit-policy.json"), &audit::policy().to_string())?;
        fs::create_dir(self.file("home")).map_err(Error::system("make a home for kubectl"))?;
        let addresses = [self.place.address, FIRST_SERVICE, Ipv4Addr::LOCALHOST].map(IpAddr::V4);
        let hosts = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
        ];
        let server = self.authority.server("kube-apiserver", &addresses, &hosts)?;
        server.write(self.processes.folder(), "server")?;
        // The API server shows it to kubelets, of which it wants logs and terminals.
        let client = self.authority.user("kube-apiserver", Some(ADMINISTRATORS))?;
        client.write(self.processes.folder(), "kubelet-client")?;
        for (file, user) in [
            ("admin", "admin"),
            ("controller-manager", "system:kube-controller-manager"),
            ("scheduler", "system:kube-scheduler"),
            ("kwok", "kwok"),
            ("node", "system:node:node"),
            ("proxy", "system:kube-proxy"),
        ] {
            let identity = self.authority.user(user, Some(ADMINISTRATORS))?;
            let text = kubeconfig(&self.server(), &self.authority, &identity);
            write(&self.file(&format!("{file}.kubeconfig")), &text)?;
        }
        Ok(())
    }
}

/// What a command said, if it ended well.
pub(crate) fn answer(program: &str, arguments: &[&str], output: Output) -> Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(Error::Command {
            command: format!("{program} {}", arguments.join(" ")),
            said: text(&output.stderr).trim().to_string(),
        }),
    }
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::system(format!("write {}", path.display())))
}
