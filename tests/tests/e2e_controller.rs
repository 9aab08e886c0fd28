//! The continuous mode with `examples/hello` on this kernel: what is written into the manifest comes, what is taken away
//! comes back, and whoever stops it loses nothing.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use portolan_tests::example::Example;
use portolan_tests::http::get;
use portolan_tests::processes::{kill, kill_all_of};
use portolan_tests::wait::until;
use portolan_tests::{is_root, skip};
use serde_json::Value;

/// The longest pause between two looks is a second in these tests, and a rollout of two replicas takes two.
const SOON: Duration = Duration::from_secs(20);

const PAGE: u16 = 18_299;

struct Running<'a> {
    hello: &'a Example,
    child: Child,
}

impl<'a> Running<'a> {
    fn start(hello: &'a Example) -> Self {
        let page = format!("127.0.0.1:{PAGE}");
        let arguments = ["controller", ".", "--listen", &page, "--resync", "1s"];
        let mut command = hello.home.portolan(&hello.folder, arguments);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(hello.folder.join("controller.log"))
            .unwrap();
        let child = command.stderr(Stdio::from(log)).stdout(Stdio::null()).spawn().unwrap();
        Self { hello, child }
    }

    fn ask(&self, path: &str) -> Option<String> {
        let answer = get(SocketAddr::from(([127, 0, 0, 1], PAGE)), path).ok()?;
        (answer.status == 200).then_some(answer.body)
    }

    fn app(&self) -> Option<Value> {
        let apps: Value = serde_json::from_str(&self.ask("/api/v1/apps")?).ok()?;
        apps.get(0).cloned()
    }

    fn stands(&self, standing: &str, generation: u64) {
        until(&format!("generation {generation} is {standing}"), SOON, || {
            let app = self.app()?;
            (app["standing"] == standing && app["generation"] == generation).then_some(())
        });
    }

    fn log(&self) -> String {
        fs::read_to_string(self.hello.folder.join("controller.log")).unwrap()
    }

    /// The exit code; none of a killed one.
    fn end(mut self, signal: &str) -> Option<i32> {
        kill(signal, &[self.child.id()]);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

#[test]
fn a_controller_keeps_what_manifests_say() {
    if !is_root() {
        return skip(
            "a_controller_keeps_what_manifests_say",
            "containers are started by root",
        );
    }
    let hello = Example::up("hello", |manifest| manifest.replace("port: 8090", "port: 18198"));
    let running = Running::start(&hello);
    until("it is ready", SOON, || running.ask("/readyz"));
    running.stands("converged", 1);
    assert_eq!(running.ask("/healthz").as_deref(), Some("ok\n"));
    let metrics = running.ask("/metrics").unwrap();
    assert!(metrics.contains("portolan_apps{standing=\"converged\"} 1"), "{metrics}");
    assert!(running.ask("/").unwrap().contains("default/hello"));

    hello.edit("portolan.yaml", "build: {}", "build: {}\n      env: {CREW: \"12\"}");
    running.stands("converged", 2);
    let page = running.ask("/apps/default/hello").unwrap();
    assert!(page.contains("generation 2 is as it shall be"), "{page}");
    let good = fs::read_to_string(hello.folder.join("portolan.yaml")).unwrap();
    hello.edit("portolan.yaml", "CREW", "{");
    until("the fault is told, with its line", SOON, || {
        running.log().contains("portolan.yaml:").then_some(())
    });
    running.stands("converged", 2);
    assert!(serves(), "what it said before holds");
    fs::write(hello.folder.join("portolan.yaml"), good).unwrap();

    kill_all_of(&hello.home);
    assert!(!serves(), "as after a reboot");
    until("all is back", SOON, || serves().then_some(()));

    assert_eq!(running.end("TERM"), Some(0), "handed over");
    assert!(serves(), "what runs goes on");
    let running = Running::start(&hello);
    running.stands("converged", 2);
    assert_eq!(running.end("KILL"), None);
    kill_all_of(&hello.home);
    let running = Running::start(&hello);
    until("another one brings it back", SOON, || serves().then_some(()));
    running.stands("converged", 2);

    hello.says(&["suspend"]);
    running.stands("suspended", 2);
    kill_all_of(&hello.home);
    std::thread::sleep(Duration::from_secs(3));
    assert!(!serves(), "it is left alone");
    hello.says(&["resume"]);
    until("it is resumed", SOON, || serves().then_some(()));

    hello.edit("hello.c", "hello from %s", "ahoy from %s");
    std::thread::sleep(Duration::from_secs(3));
    running.stands("converged", 2);
    hello.says(&["reconcile"]);
    running.stands("converged", 3);
    assert!(
        greeting().unwrap().starts_with("ahoy"),
        "built anew when somebody said so"
    );
    assert_eq!(running.end("TERM"), Some(0));
}

#[test]
fn a_controller_that_cannot_begin_says_why() {
    let home = portolan_tests::home::Home::new();
    let folder = home.example("hello");
    let ends = |arguments: &[&str], code: &str| {
        let output = home.portolan(&folder, arguments).output().unwrap();
        let said = portolan_tests::home::said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("error[{code}]: ")), "{said}");
    };
    ends(&["controller", "nowhere", "--listen", "none"], "ManifestNotFound");
    ends(&["controller", ".", "--listen", "somewhere"], "AddressUnusable");
    fs::write(folder.join("wrong.yaml"), "kind: App\n").unwrap();
    ends(&["controller", ".", "--listen", "none"], "MissingField");
}

#[test]
fn what_is_for_the_apps_of_a_cluster_is_refused_beside_a_folder() {
    let home = portolan_tests::home::Home::new();
    let folder = home.example("hello");
    for option in [["--shards", "1"], ["--namespace", "team"], ["--context", "there"]] {
        for arguments in [vec!["controller", "."], vec!["controller"]] {
            let arguments = [&arguments[..], &option, &["--listen", "none"]].concat();
            let output = home.portolan(&folder, &arguments).output().unwrap();
            let said = portolan_tests::home::said(&output);
            assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
            assert!(said.contains("--kubernetes"), "{arguments:?}: {said}");
        }
    }
    let webhook = ["--webhook", "127.0.0.1:0", "--webhook-certificate", "."];
    let arguments = [&["controller", ".", "--listen", "none"][..], &webhook].concat();
    let output = home.portolan(&folder, &arguments).output().unwrap();
    let said = portolan_tests::home::said(&output);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("error[Invalid]: --webhook is for") && said.contains("hint: "),
        "{said}"
    );
}

fn greeting() -> Option<String> {
    get(SocketAddr::from(([127, 0, 0, 1], 18_198)), "/")
        .ok()
        .map(|answer| answer.body)
}

fn serves() -> bool {
    greeting().is_some()
}
