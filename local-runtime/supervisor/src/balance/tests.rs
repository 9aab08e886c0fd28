//! Sockets follow the routes; the kernel's loopback is the world.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as Server, TcpStream, UdpSocket};

use super::*;
use crate::machine::{Group, RoutePort};
use crate::spec::{Protocol, Publish};
use crate::testing::loopback;

/// A port of this name, published at the address.
fn port(name: &str, address: SocketAddrV4) -> [PortSpec; 1] {
    [PortSpec {
        name: name.into(),
        port: 8080,
        protocol: Protocol::Tcp,
        publish: Some(published(address)),
    }]
}

fn table(route: Route) -> Table {
    Table {
        routes: vec![route],
        ..Table::default()
    }
}

fn published(address: SocketAddrV4) -> Publish {
    Publish {
        address: *address.ip(),
        port: address.port(),
    }
}

/// `web`, whose replica is this machine at the server's port.
fn route(name: &str, server: &Server, outside: SocketAddrV4) -> Route {
    let inside = server.local_addr().unwrap();
    Route {
        service: "web".into(),
        address: *loopback().ip(),
        ports: vec![RoutePort {
            name: name.into(),
            port: inside.port(),
            protocol: Protocol::Tcp,
            publish: Some(published(outside)),
        }],
        groups: vec![Group {
            weight: 1,
            targets: BTreeMap::from([(1, Ipv4Addr::LOCALHOST)]),
        }],
    }
}

#[tokio::test]
async fn a_port_that_is_renamed_keeps_its_socket() {
    let (server, outside) = (Server::bind("127.0.0.1:0").await.unwrap(), loopback());
    let mut balance = Balance::new(HostSockets::Own, 10);
    balance.reserve("web", &port("http", outside)).unwrap();
    balance.set(table(route("http", &server, outside)));
    balance.reserve("web", &port("web", outside)).unwrap();
    balance.set(table(route("web", &server, outside)));
    assert!(balance.failures().is_empty());
    drop(TcpStream::connect(outside).await.unwrap());
}

#[tokio::test]
async fn a_published_port_follows_the_port_behind_it() {
    let outside = loopback();
    let mut balance = Balance::new(HostSockets::Own, 10);
    for _ in 0..2 {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        balance.set(table(route("http", &server, outside)));
        let _client = TcpStream::connect(outside).await.unwrap();
        let accepted = tokio::time::timeout(std::time::Duration::from_secs(5), server.accept()).await;
        assert!(accepted.is_ok(), "the connection comes to the port of these routes");
    }
}

#[tokio::test]
async fn a_failure_is_told_until_the_port_is_free_and_tried_again() {
    let (server, outside) = (Server::bind("127.0.0.1:0").await.unwrap(), loopback());
    let other = std::net::TcpListener::bind(outside).unwrap();
    let mut balance = Balance::new(HostSockets::Own, 10);
    let refused = balance.reserve("web", &port("http", outside)).unwrap_err();
    balance.set(table(route("http", &server, outside)));
    let failure = balance.failures()["web"].clone();
    assert_eq!(
        (failure.reason, failure.message),
        ("PortInUse".into(), refused.message),
        "told as a refused put tells it"
    );
    balance.try_again();
    assert_eq!(balance.failures().len(), 1, "it is still taken");
    drop(other);
    balance.try_again();
    assert!(balance.failures().is_empty());
    drop(TcpStream::connect(outside).await.unwrap());
}

#[tokio::test]
async fn at_the_limit_accepting_pauses() {
    let (server, outside) = (Server::bind("127.0.0.1:0").await.unwrap(), loopback());
    let mut balance = Balance::new(HostSockets::Own, 1);
    balance.set(table(route("http", &server, outside)));
    let first = TcpStream::connect(outside).await.unwrap();
    let (behind_first, _) = server.accept().await.unwrap();
    let mut second = TcpStream::connect(outside).await.unwrap();
    second.write_all(b"hello").await.unwrap();
    let brief = std::time::Duration::from_millis(100);
    let early = tokio::time::timeout(brief, server.accept()).await;
    assert!(early.is_err(), "a second one waits in the kernel");
    drop((first, behind_first));
    let (mut behind_second, _) = server.accept().await.unwrap();
    let mut said = [0; 5];
    behind_second.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello", "and loses nothing");
}

/// A UDP server, and the way to it.
async fn datagrams(name: &'static str) -> (UdpSocket, Route) {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tcp = Server::bind("127.0.0.1:0").await.unwrap();
    let mut route = route(name, &tcp, loopback());
    route.ports[0].protocol = Protocol::Udp;
    route.ports[0].port = server.local_addr().unwrap().port();
    (server, route)
}

#[tokio::test]
async fn datagrams_of_a_client_go_to_one_replica_and_back_until_it_leaves_the_routes() {
    let (server, mut route) = datagrams("dns").await;
    let publish = route.ports[0].publish.unwrap();
    let mut balance = Balance::new(HostSockets::Own, 10);
    balance.set(table(route.clone()));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect((publish.address, publish.port)).await.unwrap();
    let mut buffer = [0; 64];
    let mut seen = vec![];
    for word in ["one", "two"] {
        client.send(word.as_bytes()).await.unwrap();
        let (length, from) = server.recv_from(&mut buffer).await.unwrap();
        seen.push(from);
        server.send_to(&buffer[..length], from).await.unwrap();
        let length = client.recv(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], word.as_bytes());
    }
    assert_eq!(seen[0], seen[1], "one flow");
    assert!(balance.draining().is_empty());
    route.groups[0].targets.clear();
    balance.set(table(route.clone()));
    tokio::task::yield_now().await;
    assert!(balance.draining().is_empty(), "datagrams hold no replica back");
    route.groups[0].targets.insert(2, Ipv4Addr::LOCALHOST);
    balance.set(table(route));
    client.send(b"three").await.unwrap();
    let (_, from) = server.recv_from(&mut buffer).await.unwrap();
    assert_ne!(from, seen[0], "the next goes to another replica");
}

#[tokio::test]
async fn a_udp_port_that_is_taken_is_told_with_its_holder() {
    let (_server, route) = datagrams("dns").await;
    let publish = route.ports[0].publish.unwrap();
    let _other = UdpSocket::bind((publish.address, publish.port)).await.unwrap();
    let mut balance = Balance::new(HostSockets::Own, 10);
    balance.set(table(route));
    let failure = &balance.failures()["web"];
    assert_eq!(failure.reason, "PortInUse");
    assert!(
        failure.message.contains(&format!("pid {}", std::process::id())),
        "{}",
        failure.message
    );
}
