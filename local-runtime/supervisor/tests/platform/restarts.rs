//! A supervisor that is killed, told to go, or asked for twice.

use nix::fcntl::{Flock, FlockArg};
use portolan_supervisor::protocol::{ObjectState, Observed};
use portolan_supervisor::spec::Kind;
use portolan_supervisor::{Client, ensure_running};

use crate::app::{App, get, service};
use crate::machine::{Signal, Traces, is_alive, kill, kill_and_wait, signal};

#[tokio::test]
async fn containers_outlive_a_killed_supervisor_and_are_taken_over() {
    let Some(app) = App::new("containers_outlive_a_killed_supervisor_and_are_taken_over").await else {
        return;
    };
    app.put_service(service("web", 2, "hello")).await;
    let (address, before) = (app.address("web").await, app.pids("web").await);
    let supervisor = app.client().await.welcome().pid;
    kill(supervisor);
    while Client::connect(&app.launch.run_dir).await.is_ok() {}
    assert!(before.iter().all(|pid| is_alive(*pid)), "the containers do not need it");
    let status = app.service("web").await;
    assert_ne!(app.client().await.welcome().pid, supervisor);
    assert_eq!(app.pids("web").await, before, "the very same processes");
    assert_eq!(
        status.endpoints[0].published,
        Some(address),
        "the port that was chosen stays"
    );
    assert!(get(address, "/").await.unwrap().starts_with("hello from web-"));
    kill(before[0]);
    restarted(&app).await;
    assert!(
        app.logs(Kind::Service, "web").await.len() >= 6,
        "logs go on: two lines a start"
    );
    app.delete_everything().await;
}

/// A killed process lets go of its locks only when it has ended whole, which on a busy machine takes a while.
#[tokio::test]
async fn a_killed_supervisor_that_still_holds_its_lock_is_waited_for() {
    let Some(app) = App::new("a_killed_supervisor_that_still_holds_its_lock_is_waited_for").await else {
        return;
    };
    app.put_service(service("web", 1, "hello")).await;
    app.ready(Kind::Service, "web").await;
    let (supervisor, keeper) = (app.client().await.welcome().pid, app.keeper());
    signal(keeper, Signal::SIGSTOP);
    kill_and_wait(supervisor);
    let file = std::fs::File::open(app.launch.run_dir.join("lock")).unwrap();
    let held = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    signal(keeper, Signal::SIGCONT);
    let let_go = async {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        drop(held);
    };
    let (client, ()) = tokio::join!(app.client(), let_go);
    assert_ne!(client.welcome().pid, supervisor);
    drop(client);
    app.delete_everything().await;
}

#[tokio::test]
async fn what_ended_while_no_supervisor_ran_is_started_again() {
    let Some(app) = App::new("what_ended_while_no_supervisor_ran_is_started_again").await else {
        return;
    };
    app.put_service(service("web", 2, "hello")).await;
    app.ready(Kind::Service, "web").await;
    let before = app.pids("web").await;
    app.end_supervisor().await;
    kill(before[0]);
    restarted(&app).await;
    let after = app.pids("web").await;
    assert!(
        after.len() == 2 && after[0] != before[0] && after[1] == before[1],
        "{before:?} {after:?}"
    );
    app.delete_everything().await;
}

#[tokio::test]
async fn a_port_taken_while_no_supervisor_ran_is_a_failure_until_it_is_free() {
    let test = "a_port_taken_while_no_supervisor_ran_is_a_failure_until_it_is_free";
    let Some(app) = App::new(test).await else { return };
    app.put_service(service("web", 1, "hello")).await;
    let address = app.address("web").await;
    app.end_supervisor().await;
    let other = std::net::TcpListener::bind(address).unwrap();
    let failed = |seen: &Observed| matches!(seen.state, ObjectState::Failed(_));
    let seen = app.until(Kind::Service, "web", failed).await;
    let ObjectState::Failed(failure) = seen.state else {
        unreachable!("it was waited for")
    };
    assert_eq!(failure.reason, "PortInUse");
    let holder = format!("pid {}", std::process::id());
    assert!(failure.message.contains(&holder), "{}", failure.message);
    drop(other);
    app.ready(Kind::Service, "web").await;
    assert!(get(address, "/").await.unwrap().starts_with("hello from web-"));
    app.delete_everything().await;
}

#[tokio::test]
async fn a_test_that_ends_half_way_leaves_nothing() {
    let Some(app) = App::new("a_test_that_ends_half_way_leaves_nothing").await else {
        return;
    };
    app.put_service(service("web", 2, "hello")).await;
    app.ready(Kind::Service, "web").await;
    let traces = app.traces().await;
    kill(app.client().await.welcome().pid);
    drop(app);
    assert_eq!(traces.still_there(), Traces::default());
}

async fn restarted(app: &App) {
    let once = |seen: &Observed| {
        seen.service
            .as_ref()
            .is_some_and(|service| service.restarts == 1 && service.ready == 2)
    };
    app.until(Kind::Service, "web", once).await;
}

#[tokio::test]
async fn many_callers_start_one_supervisor() {
    let Some(app) = App::empty("many_callers_start_one_supervisor") else {
        return;
    };
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let launch = app.launch.clone();
        calls.spawn(async move { ensure_running(&launch).await.unwrap() });
    }
    let clients = calls.join_all().await;
    let pids: std::collections::BTreeSet<u32> = clients.iter().map(|client| client.welcome().pid).collect();
    assert_eq!(pids.len(), 1);
    drop(clients);
    let pid = pids.into_iter().next().unwrap();
    while is_alive(pid) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(
        !app.launch.run_dir.exists() && !app.launch.state_dir.exists(),
        "with nothing to do it ends and leaves nothing"
    );
}

#[tokio::test]
async fn a_supervisor_of_an_older_program_gives_way() {
    let Some(app) = App::empty("a_supervisor_of_an_older_program_gives_way") else {
        return;
    };
    std::fs::create_dir_all(&app.launch.run_dir).unwrap();
    let mut older = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = older.id();
    let socket = portolan_supervisor::protocol::socket_path(&app.launch.run_dir);
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let welcome = format!(r#"{{"ok":{{"version":1,"app":"a/b","pid":{pid},"program_version":"0.0.1"}}}}"#);
        std::io::Write::write_all(&mut stream, format!("{welcome}\n").as_bytes()).unwrap();
        older.wait().unwrap()
    });
    let client = app.client().await;
    let status = served.join().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(Signal::SIGTERM as i32), "it was told to go");
    assert_ne!(client.welcome().pid, pid);
    drop(client);
    app.delete_everything().await;
}
