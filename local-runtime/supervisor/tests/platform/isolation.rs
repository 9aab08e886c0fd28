//! One app's containers against another app's addresses.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use portolan_supervisor::spec::Kind;

use crate::app::{App, steady_service};

/// What a container could do that had CAP_NET_ADMIN: every address of the machine by way of its own bridge.
#[tokio::test]
async fn a_services_address_is_closed_to_the_containers_of_another_app() {
    let test = "a_services_address_is_closed_to_the_containers_of_another_app";
    let (Some(app), Some(other)) = (App::new(&format!("{test}-a")).await, App::new(test).await) else {
        return;
    };
    for app in [&app, &other] {
        app.put_service(steady_service("web", 1, "hello")).await;
    }
    let address = SocketAddrV4::new(app.service("web").await.address, 8080);
    let own = SocketAddrV4::new(other.service("web").await.address, 8080);
    let gateway = gateway(&other).await;
    let pid = other.pids("web").await[0];
    // Anybody's socket on the machine, and at that address: the way to the machine is open, that to the address is not.
    let at = |address| TcpListener::bind((address, 0)).unwrap();
    let listeners = [gateway, *address.ip()].map(at);
    let [open, closed] = [0, 1].map(|number| listeners[number].local_addr().unwrap());
    let reached = std::thread::spawn(move || {
        setns(
            File::open(format!("/proc/{pid}/ns/net")).unwrap(),
            CloneFlags::CLONE_NEWNET,
        )
        .unwrap();
        let route = ["route", "replace", "default", "via", &gateway.to_string()];
        assert!(Command::new("ip").args(route).status().unwrap().success());
        let connects = |to| TcpStream::connect_timeout(&to, Duration::from_secs(2)).is_ok();
        [own.into(), open, closed, address.into()].map(connects)
    });
    assert_eq!(
        reached.join().unwrap(),
        [true, true, false, false],
        "its own, the machine's, anybody's at the other app's address, the other app's"
    );
    drop(listeners);
    app.delete_everything().await;
    other.delete_everything().await;
}

async fn gateway(app: &App) -> Ipv4Addr {
    let seen = app.observe().await;
    seen.find(Kind::Network, "app")
        .unwrap()
        .network
        .as_ref()
        .unwrap()
        .gateway
}
