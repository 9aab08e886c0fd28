//! The program as the shipped service account, and what it says and uses.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::plane::{ACCOUNT, Plane, until};

const LISTEN: &str = "127.0.0.1:19465";

pub struct Running {
    child: Child,
    began: Instant,
}

impl Running {
    pub fn start(plane: &Plane, program: &Path, resync: &str) -> Self {
        // It outlives one controller and goes with the control plane's folder.
        let folder = plane.plane.logs().parent().unwrap().join("controller");
        fs::create_dir_all(&folder).unwrap();
        let made = plane.plane.kubeconfig_of(ACCOUNT, None).unwrap();
        let mut config: Value = serde_json::from_str(&fs::read_to_string(made).unwrap()).unwrap();
        config["contexts"][0]["context"]["namespace"] = json!("portolan-system");
        let kubeconfig = folder.join("kubeconfig");
        fs::write(&kubeconfig, config.to_string()).unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .unwrap();
        let mut command: Command = plane.plane.command(program);
        command
            .args(["controller", "--kubernetes", "--listen", LISTEN, "--resync", resync])
            .env("PORTOLAN_HOME", folder.join("home"))
            .env("KUBECONFIG", kubeconfig)
            .stdout(Stdio::null())
            .stderr(log);
        Self {
            child: command.spawn().unwrap(),
            began: Instant::now(),
        }
    }

    /// Asked to, and it has to do so well.
    pub fn stop(mut self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    /// Seconds from its start until it knows so many Apps to be converged.
    pub async fn converge(&self, apps: usize) -> f64 {
        until("all are known to be converged", Duration::from_millis(250), || async {
            let converged = metric("portolan_apps{standing=\"converged\"}")?;
            (converged as usize >= apps).then_some(())
        })
        .await;
        self.began.elapsed().as_secs_f64()
    }

    pub fn reconciles(&self) -> u64 {
        metric("portolan_reconciles_total").unwrap()
    }

    /// Of all threads, in the kernel and out of it (proc(5), `utime` and `stime`, in ticks of 10 ms).
    pub fn processor_seconds(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields = text.rsplit(") ").next().unwrap().split(' ').skip(11).take(2);
        fields.map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }

    pub fn resident_bytes(&self) -> u64 {
        let pages = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// `None` while nobody answers.
fn metric(name: &str) -> Option<u64> {
    let mut stream = TcpStream::connect(LISTEN).ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {LISTEN}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let line = answer.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}
