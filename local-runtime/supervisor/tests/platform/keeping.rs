//! What goes on while a supervisor or its keeper is dead.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portolan_supervisor::Client;
use portolan_supervisor::protocol::{ObjectState, ReachedLimit};
use portolan_supervisor::spec::Kind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::app::{App, container, get, service, steady_service};
use crate::machine::{Signal, is_alive, kill, signal};

/// What the issue promises after a kill.
const RIGHT_AGAIN: Duration = Duration::from_secs(2);
/// Of the moments of the kills: the same in every run.
const SEED: u64 = 20_261_125;

#[tokio::test]
async fn a_supervisor_killed_at_any_moment_is_not_noticed() {
    killed_at_random("a_supervisor_killed_at_any_moment_is_not_noticed", 8).await;
}

#[tokio::test]
#[ignore = "half a minute"]
async fn a_supervisor_killed_thirty_times_is_not_noticed() {
    killed_at_random("a_supervisor_killed_thirty_times_is_not_noticed", 30).await;
}

async fn killed_at_random(test: &str, kills: u32) {
    let Some(app) = App::new(test).await else { return };
    let mut spec = steady_service("web", 2, "hello");
    spec.pod.sidecars.push(container("counter", &["count"]));
    app.put_service(spec).await;
    let (address, before) = (app.address("web").await, app.pids("web").await);
    let load = Load::start(address);
    let mut slowest = Duration::ZERO;
    let mut moments = Moments(SEED);
    for _ in 0..kills {
        let supervisor = app.client().await.welcome().pid;
        tokio::time::sleep(moments.next_within(Duration::from_millis(1500))).await;
        kill(supervisor);
        slowest = slowest.max(right_again(&app, supervisor).await);
        assert_eq!(app.pids("web").await, before, "the very same processes");
    }
    let (answers, faults) = load.end().await;
    println!(
        "{kills} kills: {answers} answers, {} faults, right again after at most {slowest:?}",
        faults.len()
    );
    assert!(faults.is_empty(), "{} of {answers}: {:?}", faults.len(), faults[0]);
    assert!(slowest < RIGHT_AGAIN, "{slowest:?}\n{}", app.supervisor_log());
    no_line_is_lost(&app).await;
    app.delete_everything().await;
}

/// How long it took until another supervisor said that all is as it should be.
async fn right_again(app: &App, killed: u32) -> Duration {
    let begun = Instant::now();
    while begun.elapsed() < 10 * RIGHT_AGAIN {
        if let Ok(mut client) = Client::connect(&app.launch.run_dir).await
            && client.welcome().pid != killed
            && let Ok(seen) = client.observe().await
            && seen.find(Kind::Service, "web").unwrap().state == ObjectState::Ready
        {
            return begun.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("no supervisor has everything right\n{}", app.supervisor_log());
}

async fn no_line_is_lost(app: &App) {
    let lines = app.logs(Kind::Service, "web").await;
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    let last = numbers.iter().max().copied().unwrap_or(0);
    let mut times = vec![0; last as usize + 1];
    numbers.iter().for_each(|number| times[*number as usize] += 1);
    let wrong: Vec<usize> = (1..times.len()).filter(|number| times[*number] != 2).collect();
    // The two replicas did not begin at one moment: the end of one is ahead of the other.
    let begun: Vec<usize> = wrong
        .into_iter()
        .filter(|number| (*number as u64) + 2000 < last)
        .collect();
    assert!(
        begun.is_empty(),
        "of {last} lines these were not told once by each: {begun:?}"
    );
}

#[tokio::test]
async fn a_killed_keeper_is_replaced_and_costs_the_open_connections_alone() {
    let Some(app) = App::new("a_killed_keeper_is_replaced_and_costs_the_open_connections_alone").await else {
        return;
    };
    app.put_service(steady_service("web", 2, "hello")).await;
    let (address, before) = (app.address("web").await, app.pids("web").await);
    let (supervisor, keeper) = (app.client().await.welcome().pid, app.keeper());
    let mut open = TcpStream::connect(address).await.unwrap();
    kill(keeper);
    let begun = Instant::now();
    assert_eq!(open.read(&mut [0; 1]).await.unwrap_or(0), 0, "an open connection ends");
    while get_once(address).await.is_err() {
        assert!(begun.elapsed() < RIGHT_AGAIN, "{}", app.supervisor_log());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!("new connections after {:?}", begun.elapsed());
    assert_ne!(app.keeper(), keeper);
    assert_eq!(app.client().await.welcome().pid, supervisor, "the same supervisor");
    assert_eq!(app.pids("web").await, before, "the same containers");
    kill(supervisor);
    right_again(&app, supervisor).await;
    assert_eq!(app.pids("web").await, before, "the new keeper starts supervisors too");
    app.delete_everything().await;
}

#[tokio::test]
async fn when_both_are_killed_the_next_caller_starts_both() {
    let Some(app) = App::new("when_both_are_killed_the_next_caller_starts_both").await else {
        return;
    };
    app.put_service(steady_service("web", 2, "hello")).await;
    let (address, before) = (app.address("web").await, app.pids("web").await);
    let both = BTreeSet::from([app.client().await.welcome().pid, app.keeper()]);
    both.iter().for_each(|pid| signal(*pid, Signal::SIGSTOP));
    both.iter().for_each(|pid| kill(*pid));
    while both.iter().any(|pid| is_alive(*pid)) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(get_once(address).await.is_err(), "nobody listens");
    assert!(before.iter().all(|pid| is_alive(*pid)));
    assert_eq!(app.pids("web").await, before, "the very same processes");
    assert!(get_once(address).await.unwrap().starts_with("hello from"));
    assert!(!both.contains(&app.keeper()));
    app.delete_everything().await;
}

#[tokio::test]
async fn memory_that_ran_out_while_the_supervisor_was_dead_is_named() {
    let test = "memory_that_ran_out_while_the_supervisor_was_dead_is_named";
    let Some(app) = App::new(test).await else { return };
    let mut web = service("web", 1, "hello");
    web.pod.main.resources.memory_bytes = Some(16 << 20);
    app.put_service(web).await;
    let (address, before) = (app.address("web").await, app.pids("web").await);
    let supervisor = app.client().await.welcome().pid;
    signal(supervisor, Signal::SIGSTOP);
    assert!(get(address, "/eat").await.is_err(), "nobody is left to answer");
    while is_alive(before[0]) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    kill(supervisor);
    right_again(&app, supervisor).await;
    let seen = app.service("web").await;
    let exit = seen.replicas[0].containers[0].last_exit.expect("it has ended");
    assert_eq!(
        (exit.code, exit.limit),
        (Some(137), Some(ReachedLimit::Memory(16 << 20)))
    );
    app.delete_everything().await;
}

/// Half of its tasks make a connection for each request, the others keep one for all.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<(usize, Vec<String>)>,
}

impl Load {
    fn start(address: SocketAddrV4) -> Load {
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for _ in 0..4 {
            tasks.spawn(keep_asking(address, Way::Anew, stop.clone()));
            tasks.spawn(keep_asking(address, Way::OnOne, stop.clone()));
        }
        Load { stop, tasks }
    }

    async fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.tasks.join_all().await;
        let answers = all.iter().map(|(answers, _)| answers).sum();
        (answers, all.into_iter().flat_map(|(_, faults)| faults).collect())
    }
}

#[derive(Clone, Copy)]
enum Way {
    Anew,
    OnOne,
}

async fn keep_asking(address: SocketAddrV4, way: Way, stop: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let (mut answers, mut faults) = (0, vec![]);
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) && faults.len() < 10 {
        let answered = match way {
            Way::Anew => get_once(address).await.map(drop),
            Way::OnOne => get_kept(address, &mut kept).await,
        };
        match answered {
            Ok(_) => answers += 1,
            Err(error) => faults.push(error.to_string()),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (answers, faults)
}

async fn get_once(address: SocketAddrV4) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string());
    body.ok_or_else(|| std::io::Error::other(format!("no answer but {answer:?}")))
}

/// On a connection that is never made anew: its end is a fault.
async fn get_kept(address: SocketAddrV4, kept: &mut Option<TcpStream>) -> std::io::Result<()> {
    if kept.is_none() {
        *kept = Some(TcpStream::connect(address).await?);
    }
    let stream = kept.as_mut().expect("it was just made");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    let mut buffer = [0; 1024];
    match stream.read(&mut buffer).await? {
        0 => Err(std::io::Error::other("a connection that was kept has ended")),
        _ => Ok(()),
    }
}

/// Pseudo-random moments (a linear congruential generator, by Knuth's constants).
struct Moments(u64);

impl Moments {
    fn next_within(&mut self, longest: Duration) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        longest.mul_f64((self.0 >> 40) as f64 / (1u64 << 24) as f64)
    }
}
