//! Probes, logs and exec.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portolan_supervisor::frames::Frame;
use portolan_supervisor::protocol::{ExecRequest, LogLine, LogsRequest, ObjectState, Observed, WindowSize};
use portolan_supervisor::spec::{Health, Kind};
use serde_json::{Value, json};

use crate::app::{App, container, get, job, logs_of, service};
use crate::machine::Signal;

fn health(ready: Value) -> Health {
    serde_json::from_value(json!({"ready": {"check": ready, "interval_ms": 100, "failure_threshold": 1}})).unwrap()
}

#[tokio::test]
async fn probes_of_each_kind_decide_about_connections() {
    let Some(app) = App::new("probes_of_each_kind_decide_about_connections").await else {
        return;
    };
    for (name, check, passes) in [
        ("http", json!({"http": {"port": 8080, "path": "/ready"}}), true),
        ("tcp", json!({"tcp": {"port": 8080}}), true),
        ("tcp-closed", json!({"tcp": {"port": 8081}}), false),
        (
            "exec",
            json!({"exec": {"command": ["/bin/app", "is", "/bin/app"]}}),
            true,
        ),
        (
            "exec-fails",
            json!({"exec": {"command": ["/bin/app", "is", "/nothing"]}}),
            false,
        ),
    ] {
        let mut spec = service(name, 1, "hello");
        spec.pod.main.health = health(check);
        app.put_service(spec).await;
        let judged = |seen: &Observed| {
            let replica = &seen.service.as_ref().unwrap().replicas;
            let message = replica
                .first()
                .and_then(|replica| replica.containers[0].message.clone());
            if passes {
                seen.state == ObjectState::Ready
            } else {
                message.is_some()
            }
        };
        let seen = app.until(Kind::Service, name, judged).await;
        assert_eq!(seen.service.unwrap().ready, u32::from(passes), "{name}");
    }
    app.delete_everything().await;
}

#[tokio::test]
async fn a_probe_that_fails_later_takes_a_replica_out_and_back_in() {
    let Some(app) = App::new("a_probe_that_fails_later_takes_a_replica_out_and_back_in").await else {
        return;
    };
    let mut spec = service("web", 1, "hello");
    spec.pod.main.health = health(json!({"http": {"port": 8080, "path": "/ready"}}));
    app.put_service(spec).await;
    app.ready(Kind::Service, "web").await;
    run(&app, request(&["/bin/app", "append", "/tmp/unready", "x"]), &[]).await;
    let ready = |count: u32| move |seen: &Observed| seen.service.as_ref().is_some_and(|service| service.ready == count);
    let seen = app.until(Kind::Service, "web", ready(0)).await;
    let message = seen.service.unwrap().replicas[0].containers[0].message.clone().unwrap();
    assert_eq!(message, "ready probe, http port 8080 path /ready: status 503");
    app.delete_everything().await;
}

#[tokio::test]
async fn logs_hold_both_streams_with_their_container() {
    let Some(app) = App::new("logs_hold_both_streams_with_their_container").await else {
        return;
    };
    app.put_service(service("web", 1, "hello")).await;
    app.ready(Kind::Service, "web").await;
    let mut lines = app.logs(Kind::Service, "web").await;
    lines.sort();
    assert_eq!(lines, ["a word on stderr", "listening on 8080"]);
    app.delete_everything().await;
}

#[tokio::test]
async fn logs_are_followed_over_a_restart() {
    let Some(app) = App::new("logs_are_followed_over_a_restart").await else {
        return;
    };
    app.put_service(service("web", 1, "hello")).await;
    app.ready(Kind::Service, "web").await;
    let request = followed(Kind::Service, "web");
    let mut stream = app.client().await.logs(request).await.unwrap();
    crate::machine::kill(app.pids("web").await[0]);
    let mut count = 0;
    while count < 4 {
        let line = tokio::time::timeout(std::time::Duration::from_secs(10), stream.next()).await;
        assert!(line.expect("more lines come").unwrap().is_some());
        count += 1;
    }
    drop(stream);
    app.delete_everything().await;
}

fn followed(kind: Kind, name: &str) -> LogsRequest {
    let follow = true;
    LogsRequest {
        follow,
        ..logs_of(kind, name)
    }
}

async fn all_lines(app: &App, request: LogsRequest) -> Vec<LogLine> {
    let mut stream = app.client().await.logs(request).await.unwrap();
    let mut lines = vec![];
    while let Some(line) = stream.next().await.unwrap() {
        lines.push(line);
    }
    lines
}

#[tokio::test]
async fn logs_of_several_workloads_are_merged_by_time() {
    let Some(app) = App::new("logs_of_several_workloads_are_merged_by_time").await else {
        return;
    };
    let mut request = logs_of(Kind::Service, "web");
    for name in ["web", "api"] {
        let mut spec = service(name, 2, "hello");
        spec.ports[0].publish = None;
        spec.pod.sidecars.push(container("counter", &["count"]));
        app.put_service(spec).await;
    }
    request
        .workloads
        .push(logs_of(Kind::Service, "api").workloads.remove(0));
    for name in ["web", "api"] {
        app.ready(Kind::Service, name).await;
    }
    // Lines of this very moment may still be on their way into their files.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let all = all_lines(&app, request.clone()).await;
    let logs: BTreeSet<_> = all.iter().map(|line| line.log.clone()).collect();
    assert_eq!(logs.len(), 8, "of two containers of two replicas of two services");
    let times = all.iter().map(|line| line.time_unix_ms);
    let times: Vec<u64> = times.take(all.len() * 3 / 4).collect();
    assert!(times.is_sorted(), "{} lines", all.len());
    request.tail = Some(5);
    let last = all_lines(&app, request).await;
    assert!(last.len() >= 5 && last[0].time_unix_ms >= all[all.len() - 5].time_unix_ms);
    app.delete_everything().await;
}

#[tokio::test]
async fn a_workload_that_has_not_run_has_an_empty_log_that_can_be_followed() {
    let test = "a_workload_that_has_not_run_has_an_empty_log_that_can_be_followed";
    let Some(app) = App::new(test).await else { return };
    for _ in 0..2 {
        app.put_job(job("migrate", "r1", &["exit", "0"])).await;
        app.ready(Kind::Job, "migrate").await;
        app.delete(Kind::Job, "migrate").await;
    }
    app.put_job(job("migrate", "r1", &["exit", "0"])).await;
    assert!(
        app.logs(Kind::Job, "migrate").await.is_empty(),
        "known by its record alone"
    );
    let request = followed(Kind::Job, "migrate");
    let mut stream = app.client().await.logs(request).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
    assert!(early.is_err(), "it waits");
    app.client().await.run_job("migrate").await.unwrap();
    let line = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
    assert_eq!(line.unwrap().unwrap().unwrap().text, "about to end");
    drop(stream);
    let refused = app.client().await.logs(logs_of(Kind::Job, "nobody")).await.unwrap_err();
    assert!(refused.to_string().contains("nobody"), "{refused}");
    app.delete_everything().await;
}

#[tokio::test]
async fn a_flood_of_connections_leaves_room_for_everything_else() {
    let Some(mut app) = App::empty("a_flood_of_connections_leaves_room_for_everything_else") else {
        return;
    };
    app.launch.binary = app.with_few_descriptors(100, 240);
    app.put_basics().await;
    let mut spec = service("web", 1, "hello");
    spec.pod.main.health = health(json!({"exec": {"command": ["/bin/app", "is", "/bin/app"]}}));
    app.put_service(spec).await;
    let address = app.address("web").await;
    let limits = get(address, "/file/proc/self/limits").await.unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = files.split_whitespace().nth(3);
    assert_eq!(soft, Some("100"), "the raised limit is the supervisor's alone");
    let mut flood = vec![];
    for _ in 0..150 {
        flood.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (said, code) = run(&app, request(&["/bin/app", "env", "HOME"]), &[]).await;
    assert_eq!((said.as_str(), code), ("/\n", 0), "an exec");
    let seen = app.until(Kind::Service, "web", |_| true).await;
    assert_eq!(seen.state, ObjectState::Ready, "the probes go on");
    drop(flood);
    assert_eq!(get(address, "/").await.unwrap(), "hello from web-1", "afterwards");
    app.delete_everything().await;
}

#[tokio::test]
async fn exec_carries_streams_codes_and_the_containers_environment() {
    let Some(app) = App::new("exec_carries_streams_codes_and_the_containers_environment").await else {
        return;
    };
    let mut spec = service("web", 1, "hello");
    spec.pod.main.env.insert("COLOUR".into(), "blue".into());
    app.put_service(spec).await;
    app.ready(Kind::Service, "web").await;
    for (reason, argv, input, expected) in [
        (
            "input comes back",
            vec!["/bin/app", "cat"],
            &b"to and fro"[..],
            ("to and fro", 0),
        ),
        (
            "the environment is the container's",
            vec!["/bin/app", "env", "COLOUR"],
            &[],
            ("blue\n", 0),
        ),
        (
            "the exit code is the command's",
            vec!["/bin/app", "exit", "7"],
            &[],
            ("about to end\n", 7),
        ),
        (
            "stderr is there too",
            vec!["/bin/app", "what"],
            &[],
            ("what is `what`?\n", 64),
        ),
    ] {
        let (said, code) = run(&app, request(&argv), input).await;
        assert_eq!((said.as_str(), code), expected, "{reason}");
    }
    app.delete_everything().await;
}

#[tokio::test]
async fn exec_gives_a_terminal_of_the_size_asked_for() {
    let Some(app) = App::new("exec_gives_a_terminal_of_the_size_asked_for").await else {
        return;
    };
    app.put_service(service("web", 1, "hello")).await;
    app.ready(Kind::Service, "web").await;
    let mut request = request(&["/bin/app", "tty"]);
    request.tty = Some(WindowSize { rows: 33, columns: 101 });
    let (said, code) = run(&app, request, &[]).await;
    assert_eq!(code, 0);
    assert_eq!(
        said.trim_end(),
        "1 33 101",
        "a terminal, of that size from the first moment"
    );
    app.delete_everything().await;
}

#[tokio::test]
async fn a_terminal_is_heard_though_its_command_ends_before_anybody_listens() {
    let test = "a_terminal_is_heard_though_its_command_ends_before_anybody_listens";
    let Some(app) = App::new(test).await else { return };
    app.put_service(service("web", 1, "hello")).await;
    app.ready(Kind::Service, "web").await;
    let supervisor = app.client().await.welcome().pid;
    for _ in 0..10 {
        let mut request = request(&["/bin/app", "tty"]);
        request.tty = Some(WindowSize { rows: 33, columns: 101 });
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let stopped = tokio::task::spawn_blocking(move || stop_until_the_runtime_has_ended(supervisor, &seen));
        let (said, code) = run(&app, request, &[]).await;
        over.store(true, Ordering::Relaxed);
        stopped.await.unwrap();
        assert_eq!((said.trim_end(), code), ("1 33 101", 0));
    }
    app.delete_everything().await;
}

/// The supervisor does not run from when it has begun an exec until that is over; it may be `over` before it is seen.
fn stop_until_the_runtime_has_ended(supervisor: u32, over: &AtomicBool) {
    let runtimes = || crate::machine::children(supervisor, "portolan-runtime");
    while runtimes().is_empty() {
        if over.load(Ordering::Relaxed) {
            return;
        }
    }
    crate::machine::signal(supervisor, Signal::SIGSTOP);
    while runtimes().into_iter().any(crate::machine::is_alive) {
        std::thread::sleep(Duration::from_millis(1));
    }
    crate::machine::signal(supervisor, Signal::SIGCONT);
}

#[tokio::test]
async fn exec_ends_with_its_client() {
    let Some(app) = App::new("exec_ends_with_its_client").await else {
        return;
    };
    app.put_service(service("web", 1, "hello")).await;
    app.ready(Kind::Service, "web").await;
    let session = app.client().await.exec(request(&["/bin/app", "sleep"])).await.unwrap();
    wait_for(|| processes(&app) == 2).await;
    drop(session);
    wait_for(|| processes(&app) == 1).await;
    app.delete_everything().await;
}

#[tokio::test]
async fn a_runtime_that_is_killed_during_exec_does_not_keep_its_container_from_ending() {
    let test = "a_runtime_that_is_killed_during_exec_does_not_keep_its_container_from_ending";
    let Some(app) = App::new(test).await else { return };
    app.put_service(service("web", 1, "hello")).await;
    app.ready(Kind::Service, "web").await;
    let session = app.client().await.exec(request(&["/bin/app", "sleep"])).await.unwrap();
    wait_for(|| processes(&app) == 2).await;
    let supervisor = app.client().await.welcome().pid;
    crate::machine::children(supervisor, "portolan-runtime")
        .into_iter()
        .for_each(crate::machine::kill);
    app.delete_everything().await;
    drop(session);
}

fn processes(app: &App) -> usize {
    crate::machine::Traces::of(&app.cgroup_folder(), "", &[])
        .processes
        .len()
}

async fn wait_for(wanted: impl Fn() -> bool) {
    for _ in 0..500 {
        if wanted() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("waited in vain");
}

fn request(argv: &[&str]) -> ExecRequest {
    ExecRequest {
        service: "web".into(),
        replica: None,
        container: None,
        argv: argv.iter().map(|word| word.to_string()).collect(),
        tty: None,
    }
}

async fn run(app: &App, request: ExecRequest, input: &[u8]) -> (String, i32) {
    let mut session = app.client().await.exec(request).await.unwrap();
    session.input.write(input).await.unwrap();
    session.input.close().await.unwrap();
    let mut said = vec![];
    loop {
        match session.output.next().await.unwrap() {
            Some(Frame::Stdout(bytes) | Frame::Stderr(bytes)) => said.extend(bytes),
            Some(Frame::Exit(code)) => return (String::from_utf8(said).unwrap(), code),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&said)),
        }
    }
}
