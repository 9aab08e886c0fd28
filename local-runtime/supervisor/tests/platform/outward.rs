//! The way out of an app's network, and the border to other apps.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use portolan_supervisor::protocol::NetworkStatus;
use portolan_supervisor::spec::Kind;
use serde_json::json;

use crate::app::{App, service};
use crate::machine::kill_and_wait;
use crate::outside::{MACHINE, Outside, SERVER, UPLINK, ask, ip, name_server, within};

async fn app_on(outside: &Outside, name: &str) -> Option<App> {
    let mut app = App::empty(name)?;
    app.launch.binary = outside.on_the_machine(&app.launch.binary);
    app.put_basics().await;
    Some(app)
}

async fn network(app: &App) -> NetworkStatus {
    let seen = app.observe().await;
    seen.find(Kind::Network, "app").unwrap().network.clone().unwrap()
}

async fn pid(app: &App) -> u32 {
    app.ready(Kind::Service, "web").await;
    app.pids("web").await[0]
}

#[tokio::test]
async fn containers_reach_the_outside_under_the_machines_address_and_nothing_is_left() {
    let test = "containers_reach_the_outside_under_the_machines_address_and_nothing_is_left";
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIP {test}: not root");
    }
    let outside = Outside::new();
    let Some(app) = app_on(&outside, test).await else {
        return;
    };
    app.put_service(service("web", 1, "hello")).await;
    let pid = pid(&app).await;
    assert_eq!(network(&app).await.no_egress, None);
    let (by_address, seen) = (format!("/fetch/{SERVER}/8080"), format!("seen {MACHINE}"));
    assert_eq!(ask(pid, &by_address), seen);
    if name_server().is_some() {
        assert_eq!(ask(pid, "/fetch/some.example/8080"), seen, "by name");
    }
    kill_and_wait(app.client().await.welcome().pid);
    app.ready(Kind::Service, "web").await;
    assert_eq!(ask(pid, &by_address), seen, "after a supervisor's death too");

    app.put(json!({"kind": "network", "name": "app", "egress": "none"}))
        .await;
    assert!(
        ask(pid, &by_address).contains("unreachable"),
        "{}",
        ask(pid, &by_address)
    );
    assert!(!outside.forwards(UPLINK), "no app needs it");
    app.put(json!({"kind": "network", "name": "app", "egress": "nat"}))
        .await;
    assert_eq!(ask(pid, &by_address), seen, "and open again, for the replica that runs");
    assert!(outside.forwards(UPLINK));
    app.delete_everything().await;
    assert!(!outside.forwards(UPLINK), "as it was before");
}

#[tokio::test]
async fn one_apps_containers_reach_nothing_of_another_app() {
    let test = "one_apps_containers_reach_nothing_of_another_app";
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIP {test}: not root");
    }
    let outside = Outside::new();
    let (Some(app), Some(other)) = (
        app_on(&outside, &format!("{test}-a")).await,
        app_on(&outside, &format!("b-{test}")).await,
    ) else {
        return;
    };
    for app in [&app, &other] {
        app.put_service(service("web", 1, "hello")).await;
    }
    let (_, intruder) = (pid(&app).await, pid(&other).await);
    let (victim, own) = (network(&app).await, network(&other).await);
    let service_of = async |app: &App| app.service("web").await.address;
    let (theirs, ours) = (service_of(&app).await, service_of(&other).await);
    let [a, b, c, _] = victim.gateway.octets();
    let pod = Ipv4Addr::new(a, b, c, 64);
    let reached = within(format!("/proc/{intruder}/ns/net").into(), move || {
        let connects =
            |to| TcpStream::connect_timeout(&SocketAddrV4::new(to, 8080).into(), Duration::from_secs(1)).is_ok();
        let straight = [ours, SERVER, theirs, pod].map(connects);
        // What CAP_NET_ADMIN allows: a source address of the other app's, and routes by way of the own bridge.
        let forged = Ipv4Addr::new(a, b, c, 200);
        ip(&format!("addr add {forged}/32 dev eth0"));
        for to in [theirs, pod, SERVER] {
            ip(&format!("route add {to}/32 via {} src {forged}", own.gateway));
        }
        (straight, [theirs, pod, SERVER].map(connects))
    });
    assert_eq!(
        reached.0,
        [true, true, false, false],
        "its own, the world, the other's service and replica"
    );
    assert_eq!(
        reached.1,
        [false, false, false],
        "and nobody under an address of the other's"
    );
    app.delete_everything().await;
    assert!(outside.forwards(UPLINK), "the other app needs it");
    other.delete_everything().await;
    assert!(!outside.forwards(UPLINK));
}

#[tokio::test]
async fn a_client_sees_all_replicas_within_a_second_of_scaling() {
    let test = "a_client_sees_all_replicas_within_a_second_of_scaling";
    let Some(app) = App::new(test).await else { return };
    app.put_service(service("client", 1, "client")).await;
    app.ready(Kind::Service, "client").await;
    let client = app.pids("client").await[0];
    for replicas in [1, 3, 1] {
        app.put_service(service("web", replicas, "hello")).await;
        let scaled = app.until(Kind::Service, "web", |seen| {
            let status = seen.service.as_ref().unwrap();
            status.ready == replicas && status.replicas.len() == replicas as usize
        });
        scaled.await;
        let (begun, mut last) = (Instant::now(), vec![]);
        let seen = |answers: &[String]| answers.iter().collect::<BTreeSet<_>>().len();
        while last.len() < 6 || seen(&last[last.len() - 6..]) != replicas as usize {
            assert!(
                begun.elapsed() < Duration::from_secs(1),
                "{replicas} replicas, and the client saw {last:?}"
            );
            last.push(ask(client, "/fetch/web/8080"));
        }
    }
    assert_eq!(app.pids("client").await, [client], "the client was never started again");
    app.delete_everything().await;
}
