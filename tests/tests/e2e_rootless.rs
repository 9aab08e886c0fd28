//! An unprivileged user's app on this kernel while its processes are killed: who is served meanwhile, and how soon all is
//! as it was.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use portolan_tests::home::{Home, said};
use portolan_tests::scratch::Scratch;
use portolan_tests::wait::until;
use portolan_tests::{is_root, root, skip};
use serde_json::Value;

/// What is promised after a kill: of the app's state,
const RIGHT_AGAIN: Duration = Duration::from_secs(2);
/// and of requests.
const SERVED_AGAIN: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_killed_supervisor_without_root_costs_no_request() {
    killed_under_load("a_killed_supervisor_without_root_costs_no_request", 61_010, 8);
}

#[test]
#[ignore = "a minute"]
fn a_supervisor_killed_thirty_times_without_root_costs_no_request() {
    killed_under_load(
        "a_supervisor_killed_thirty_times_without_root_costs_no_request",
        61_011,
        30,
    );
}

fn killed_under_load(test: &str, uid: u32, kills: u32) {
    let Some(app) = App::up(test, uid) else { return };
    let (replicas, keeper) = (app.processes("app"), app.processes("portolan-keeper"));
    assert_eq!((replicas.len(), keeper.len()), (2, 1));
    let load = Load::start(app.address);
    let mut slowest = Duration::ZERO;
    for number in 0..kills {
        sleep(Duration::from_millis(u64::from(number * 379 % 1000)));
        slowest = slowest.max(app.right_again_after(&app.processes("portolan-superv")));
        assert_eq!(app.processes("app"), replicas, "the very same processes");
    }
    let Told {
        answers,
        faults,
        longest,
    } = load.end();
    println!(
        "{kills} kills: {answers} answers, {faults:?}, the longest wait {longest:?}, right again after {slowest:?}"
    );
    assert!(faults.is_empty(), "{faults:?}");
    assert!(longest < SERVED_AGAIN, "{longest:?}");
    assert!(slowest < RIGHT_AGAIN, "{slowest:?}");
    assert_eq!(app.processes("portolan-keeper"), keeper, "it held the connections");
}

#[test]
fn a_killed_process_outside_is_replaced_and_ports_are_served_again() {
    let test = "a_killed_process_outside_is_replaced_and_ports_are_served_again";
    let Some(app) = App::up(test, 61_012) else { return };
    let replicas = app.processes("app");
    for _ in 0..4 {
        let outside = app.processes("portolan-ports");
        assert_eq!(outside.len(), 2, "one starts the other");
        let load = Load::start(app.address);
        let killed = *outside.first().unwrap();
        kill(killed);
        until("another one is there", SERVED_AGAIN, || {
            let now = app.processes("portolan-ports");
            (now.len() == 2 && !now.contains(&killed)).then_some(())
        });
        let Told { faults, .. } = load.end();
        assert!(faults.is_empty(), "all goes on: {faults:?}");

        app.processes("portolan-keeper").into_iter().for_each(kill);
        until("a port whose keeper was killed is served again", SERVED_AGAIN, || {
            ask(app.address).ok()
        });
    }
    assert_eq!(app.processes("app"), replicas, "the very same processes");
    app.publishes_another_port();
}

#[test]
fn without_root_missing_limits_are_named() {
    let test = "without_root_missing_limits_are_named";
    if !is_root() {
        return skip(test, "only root can become a user that nobody knows");
    }
    let home = Home::of(Scratch {
        uid: 61_013,
        further: 0,
    });
    let folder = home.example("shop");
    let says = |arguments: &[&str]| said(&home.portolan(&folder, arguments).output().unwrap());
    let (doctor, check) = (says(&["doctor"]), says(&["check"]));
    let line = doctor.lines().find(|line| line.contains("cgroups")).unwrap();
    assert!(
        line.contains("this user may make none, so no limit of memory, cpu, pids is kept"),
        "{doctor}"
    );
    assert!(
        check.contains("limits are not kept: this user may make no cgroups"),
        "{check}"
    );
}

struct App {
    home: Home,
    folder: PathBuf,
    user: Scratch,
    address: SocketAddr,
}

impl App {
    /// `web`, of two replicas that keep connections. None, said aloud, where it cannot be.
    fn up(test: &str, uid: u32) -> Option<App> {
        if !is_root() {
            skip(test, "only root can become a user that nobody knows");
            return None;
        }
        if !Path::new("/usr/bin/newuidmap").exists() {
            skip(test, "there is no newuidmap (package uidmap)");
            return None;
        }
        let user = Scratch { uid, further: 65_536 };
        let home = Home::of(user);
        home.import_base_image();
        let folder = home.example("hello");
        let program = root().join("local-runtime/supervisor/tests/platform/program.c");
        fs::copy(program, folder.join("app.c")).unwrap();
        fs::write(folder.join("Dockerfile"), DOCKERFILE).unwrap();
        let port = 18_200 + (uid % 100) as u16;
        let app = App {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            home,
            folder,
            user,
        };
        app.write_manifest(&[port]);
        app.says(&["up"]);
        Some(app)
    }

    fn write_manifest(&self, ports: &[u16]) {
        let port = |port: &u16| format!("      - {{name: p{port}, port: {port}, public: true}}\n");
        let (first, ports): (_, String) = (ports[0], ports.iter().map(port).collect());
        let text = format!(
            "apiVersion: portolan.dev/v1alpha1\nkind: App\nmetadata: {{name: steady}}\nspec:\n  services:\n    web:\n      \
             build: {{}}\n      args: [serve-many, \"{first}\", hello]\n      scale: {{min: 2}}\n      ports:\n{ports}"
        );
        fs::write(self.folder.join("portolan.yaml"), text).unwrap();
    }

    /// By a process outside that was not there when the app began.
    fn publishes_another_port(&self) {
        let (first, further) = (self.address.port(), self.address.port() + 50);
        self.write_manifest(&[first, further]);
        let report: Value = serde_json::from_str(&self.says(&["up", "-o", "json"])).unwrap();
        assert_eq!(report[0]["outcome"], "converged", "{report}");
        let status = self.says(&["status"]);
        assert!(status.contains(&format!("127.0.0.1:{further}")), "{status}");
        // No replica listens there, but connections are taken.
        TcpStream::connect((self.address.ip(), further)).unwrap();
    }

    fn says(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.home.run(&self.folder, arguments).stdout).unwrap()
    }

    /// Processes of the user's by their name.
    fn processes(&self, name: &str) -> BTreeSet<u32> {
        let named = |pid: &u32| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm.trim() == name
        };
        self.user.processes().into_iter().filter(named).collect()
    }

    /// Kills them, and answers how long it took until a command was told that all is as it should be.
    fn right_again_after(&self, killed: &BTreeSet<u32>) -> Duration {
        killed.iter().copied().for_each(kill);
        let begun = Instant::now();
        until("all is right", LIMIT, || {
            let asked = self
                .home
                .portolan(&self.folder, ["status", "-o", "json"])
                .output()
                .unwrap();
            let status: Value = serde_json::from_slice(&asked.stdout).unwrap_or_default();
            let resources = status[0]["resources"].as_array()?;
            let web = resources.iter().find(|one| one["id"] == "Service/web")?;
            let another = self.processes("portolan-superv");
            (web["state"] == "ready" && !another.is_empty() && another.is_disjoint(killed)).then_some(())
        });
        begun.elapsed()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let deleted = self
            .home
            .portolan(&self.folder, ["delete", "--yes", "--volumes"])
            .output();
        if std::thread::panicking() {
            return;
        }
        let deleted = deleted.unwrap();
        assert!(deleted.status.success(), "{}", said(&deleted));
        until("no process is left", LIMIT, || {
            self.user.processes().is_empty().then_some(())
        });
    }
}

const DOCKERFILE: &str = "FROM portolan.local/base AS build
COPY app.c /src/
RUN gcc -O1 -w -static -o /app /src/app.c

FROM scratch
COPY --from=build /app /app
ENTRYPOINT [\"/app\"]
";

/// Half of its threads make a connection for each request, the others keep one for all.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    answers: usize,
    faults: Vec<String>,
    /// From a request to its answer.
    longest: Duration,
}

impl Load {
    fn start(address: SocketAddr) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..8).map(|number| {
            let stop = stop.clone();
            spawn(move || keep_asking(address, number % 2 == 0, &stop))
        });
        Load {
            threads: threads.collect(),
            stop,
        }
    }

    fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for one in self.threads.into_iter().map(|thread| thread.join().unwrap()) {
            all.answers += one.answers;
            all.faults.extend(one.faults);
            all.longest = all.longest.max(one.longest);
        }
        all
    }
}

fn keep_asking(address: SocketAddr, anew: bool, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) && told.faults.len() < 10 {
        let begun = Instant::now();
        let answered = match anew {
            true => ask(address),
            false => ask_on(address, &mut kept),
        };
        told.longest = told.longest.max(begun.elapsed());
        match answered {
            Ok(()) => told.answers += 1,
            Err(error) => told.faults.push(error.to_string()),
        }
        sleep(Duration::from_millis(2));
    }
    told
}

fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = connect(address)?;
    stream.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    judge(&answer)
}

/// On a connection that is never made anew: its end is a fault.
fn ask_on(address: SocketAddr, kept: &mut Option<TcpStream>) -> io::Result<()> {
    let stream = match kept {
        Some(stream) => stream,
        None => kept.insert(connect(address)?),
    };
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer)?;
    judge(&String::from_utf8_lossy(&answer[..length]))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn judge(answer: &str) -> io::Result<()> {
    match answer.contains("hello from web-") {
        true => Ok(()),
        false => Err(io::Error::other(format!("no answer but {answer:?}"))),
    }
}

/// By the shell's own `kill`: not every machine has a program of that name.
fn kill(pid: u32) {
    let killed = Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status();
    assert!(killed.unwrap().success());
}
