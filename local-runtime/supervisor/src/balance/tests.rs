//! Sockets follow the routes; the kernel's loopback is the world.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as Server, TcpStream};

use super::*;
use crate::machine::RoutePort;
use crate::spec::{PortSpec, Protocol, Publish};
use crate::testing::{loopback, service};

/// A service `web` whose port of this name is published at the address.
fn spec(name: &str, address: SocketAddrV4) -> ServiceSpec {
    let mut spec = service("web", 1);
    spec.ports = vec![PortSpec {
        name: name.into(),
        port: 8080,
        protocol: Protocol::Tcp,
        publish: Some(published(address)),
    }];
    spec
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
        backends: BTreeMap::from([(1, Ipv4Addr::LOCALHOST)]),
    }
}

#[tokio::test]
async fn a_port_that_is_renamed_keeps_its_socket() {
    let (server, outside) = (Server::bind("127.0.0.1:0").await.unwrap(), loopback());
    let mut balance = Balance::new(10);
    balance.reserve(&spec("http", outside)).unwrap();
    balance.set_routes(vec![route("http", &server, outside)]);
    balance.reserve(&spec("web", outside)).unwrap();
    balance.set_routes(vec![route("web", &server, outside)]);
    assert!(balance.failures().is_empty());
    drop(TcpStream::connect(outside).await.unwrap());
}

#[tokio::test]
async fn a_published_port_follows_the_port_behind_it() {
    let outside = loopback();
    let mut balance = Balance::new(10);
    for _ in 0..2 {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        balance.set_routes(vec![route("http", &server, outside)]);
        let _client = TcpStream::connect(outside).await.unwrap();
        let accepted = tokio::time::timeout(std::time::Duration::from_secs(5), server.accept()).await;
        assert!(accepted.is_ok(), "the connection comes to the port of these routes");
    }
}

#[tokio::test]
async fn a_failure_is_told_until_the_port_is_free_and_tried_again() {
    let (server, outside) = (Server::bind("127.0.0.1:0").await.unwrap(), loopback());
    let other = TcpListener::bind(outside).unwrap();
    let mut balance = Balance::new(10);
    let refused = balance.reserve(&spec("http", outside)).unwrap_err();
    balance.set_routes(vec![route("http", &server, outside)]);
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
    let mut balance = Balance::new(1);
    balance.set_routes(vec![route("http", &server, outside)]);
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
