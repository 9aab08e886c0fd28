//! Updates that go wrong and how a user gets out of them, with `examples/hello` on this kernel: what is said, what serves
//! all the while, and what `history`, `retry` and `rollback` make of it.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use portolan_tests::example::Example;
use portolan_tests::http::get;
use portolan_tests::{is_root, skip};
use serde_json::Value;

/// The restarts of a container that keeps ending take two seconds; its deadline would be ten minutes.
const SECONDS: Duration = Duration::from_secs(60);

const MAIN: &str = "int main(void) {\n";

/// An update that ends at once unless it finds its chart on the volume.
const CHARTED: &str = r#"int main(void) {
    if (access("/data/chart", F_OK) != 0) {
        fputs("hello: there is no chart aboard\n", stderr);
        return 3;
    }
"#;

#[test]
fn a_broken_update_fails_in_seconds_says_why_and_costs_no_request() {
    if !is_root() {
        return skip(
            "a_broken_update_fails_in_seconds_says_why_and_costs_no_request",
            "containers are started by root",
        );
    }
    let hello = hello(18192);
    let first = revision(18192);
    hello.edit("hello.c", MAIN, CHARTED);
    let start = Instant::now();
    let text = while_asked(18192, || hello.fails(&["apply"]));
    assert!(start.elapsed() < SECONDS, "{:?}: {text}", start.elapsed());
    ends_with_the_cause(&text);
    assert!(text.contains("generation 1 serves again"), "{text}");
    assert_eq!(revision(18192), first, "the old revision serves");
    assert!(
        hello
            .says(&["status"])
            .contains("held, an older one serves: CrashLoopBackOff")
    );
    let waited = hello.fails(&["wait"]);
    assert!(
        waited.contains("error[CrashLoopBackOff]: hello on local: ") && waited.contains("exit code 3"),
        "nobody waits for what is held, whatever serves: {waited}"
    );
    history_tells(&hello);

    ends_with_the_cause(&while_asked(18192, || hello.fails(&["retry"])));
    assert_eq!(revision(18192), first, "tried again on purpose, and given up again");

    let volume = hello.home.portolan_home().join("data/apps/default.hello/volumes/data");
    fs::write(volume.join("chart"), "here be dragons").unwrap();
    let said = while_asked(18192, || hello.says(&["retry"]));
    assert!(said.contains("generation 2: Ready"), "the cause is mended: {said}");
    assert_ne!(revision(18192), first);
    assert_eq!(
        report(&hello, &["apply"])["changed"],
        false,
        "it is what the manifest says"
    );
}

#[test]
fn a_rollback_brings_back_what_served_and_apply_goes_forward_again() {
    if !is_root() {
        return skip(
            "a_rollback_brings_back_what_served_and_apply_goes_forward_again",
            "containers are started by root",
        );
    }
    let hello = hello(18193);
    let first = revision(18193);
    hello.edit("hello.c", "hello from %s", "ahoy from %s");
    hello.says(&["apply"]);
    let second = revision(18193);
    assert_ne!(first, second);

    let back = while_asked(18193, || report(&hello, &["rollback", "--yes"]));
    assert_eq!(back["outcome"], "converged", "{back}");
    assert_eq!(
        revision(18193),
        first,
        "the image is the one of then, though its source is gone"
    );
    assert_eq!(report(&hello, &["rollback", "--yes", "--to", "2"])["generation"], 4);
    assert_eq!(revision(18193), second);
    assert_eq!(report(&hello, &["rollback", "--yes", "--to", "1"])["generation"], 5);

    let forward = while_asked(18193, || report(&hello, &["apply"]));
    assert_eq!(
        (&forward["outcome"], &forward["changed"]),
        (&"converged".into(), &true.into())
    );
    assert_eq!(
        revision(18193),
        second,
        "`apply` brings what the manifest says, as ever"
    );
    let again = report(&hello, &["apply"]);
    assert_eq!(
        (&again["outcome"], &again["changed"]),
        (&"converged".into(), &false.into())
    );
    assert_eq!(
        again["generation"], forward["generation"],
        "and unchanged it is no new generation"
    );
}

fn hello(port: u16) -> Example {
    Example::up("hello", |manifest| {
        let manifest = manifest.replace("port: 8090", &format!("port: {port}"));
        manifest.replace("build: {}", "build: {}\n      volumes: [{name: data, path: /data}]")
    })
}

/// The last lines of a failed command: the container, how it ended, its own last words, and where there are more.
fn ends_with_the_cause(text: &str) {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let head = lines
        .iter()
        .position(|line| line.starts_with("error[CrashLoopBackOff]: hello on local: "));
    let [head, evidence @ .., hint] = &lines[head.unwrap_or_else(|| panic!("no error in {text}"))..] else {
        panic!("it says no more than {text}");
    };
    for part in ["container `hello` of replica ", " ended with exit code 3, "] {
        assert!(head.contains(part), "no `{part}` in {head}");
    }
    assert!(!evidence.is_empty(), "{text}");
    assert!(
        evidence
            .iter()
            .all(|line| *line == "  | hello: there is no chart aboard"),
        "{text}"
    );
    assert!(hint.starts_with("  hint: ") && hint.contains("portolan logs"), "{hint}");
}

fn history_tells(hello: &Example) {
    let history = hello.says(&["history"]);
    let newest: Vec<&str> = history.lines().skip(1).take(2).collect();
    for part in ["   2  ", "rolled back to 1: CrashLoopBackOff: ", "exit code 3"] {
        assert!(newest[0].contains(part), "no `{part}` in {history}");
    }
    assert!(
        newest[1].contains("update Service/hello: ")
            && newest[1].contains("image")
            && !newest[1].contains("PORTOLAN_REVISION"),
        "{history}"
    );
}

/// What `-o json` says of the app.
fn report(hello: &Example, arguments: &[&str]) -> Value {
    let reports: Value = serde_json::from_str(&hello.says(&[arguments, &["-o", "json"]].concat())).unwrap();
    reports[0].clone()
}

/// The revision that answers.
fn revision(port: u16) -> String {
    let body = get(SocketAddr::from(([127, 0, 0, 1], port)), "/").unwrap().body;
    body.trim().rsplit(' ').next().unwrap().to_string()
}

/// Does it while somebody asks without a pause, and is always answered.
fn while_asked<T>(port: u16, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        // Gone with the scope also where the work panics: the client must end for the test to.
        let asked = Arc::new(());
        let still = Arc::downgrade(&asked);
        let client = scope.spawn(move || {
            while still.strong_count() > 0 {
                let answer = get(SocketAddr::from(([127, 0, 0, 1], port)), "/");
                assert_eq!(answer.expect("it is answered").status, 200);
                thread::sleep(Duration::from_millis(2));
            }
        });
        let done = work();
        drop(asked);
        client.join().expect("every request is answered");
        done
    })
}
