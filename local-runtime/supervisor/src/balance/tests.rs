//! Sockets follow the routes; the kernel's loopback is the world.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as Server, TcpStream};

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
        bridge: None,
        routes: vec![route],
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
    let other = TcpListener::bind(outside).unwrap();
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
