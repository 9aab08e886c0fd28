//! Small specs for the tests of this crate.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::machine::ContainerKey;
use crate::spec::*;

/// A port of the host that no other test asks for: each call has an address of 127.0.0.0/8 to itself.
pub fn loopback() -> SocketAddrV4 {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [_, _, b, c] = std::process::id().to_be_bytes();
    let last = COUNT.fetch_add(1, Ordering::Relaxed);
    SocketAddrV4::new(Ipv4Addr::new(127, b, c, last), 8080)
}

/// A container of replica 7 of the service `web`.
pub fn key(container: &str) -> ContainerKey {
    ContainerKey {
        kind: Kind::Service,
        workload: "web".into(),
        pod: 7,
        name: container.into(),
    }
}

pub fn container(name: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.into(),
        image: "test".into(),
        layers: vec!["/layers/test".into()],
        command: vec!["/server".into()],
        env: Default::default(),
        secret_env: Default::default(),
        working_dir: String::new(),
        user: String::new(),
        files: vec![],
        volumes: vec![],
        resources: Resources::default(),
        health: Health::default(),
    }
}

pub fn pod() -> PodSpec {
    PodSpec {
        main: container("main"),
        sidecars: vec![],
        init: vec![],
    }
}

pub fn service(name: &str, replicas: u32) -> ServiceSpec {
    ServiceSpec {
        name: name.into(),
        revision: "r1".into(),
        labels: Labels::new(),
        replicas,
        pod: pod(),
        ports: vec![PortSpec {
            name: "http".into(),
            port: 8080,
            protocol: Protocol::Tcp,
            publish: None,
        }],
        stop: StopSpec {
            grace_period: Duration::from_secs(10),
            ..Default::default()
        },
        rollout: RolloutSpec::default(),
        logs: LogSpec::default(),
        allow: vec![],
    }
}

pub fn job(name: &str, revision: &str) -> JobSpec {
    JobSpec {
        name: name.into(),
        revision: revision.into(),
        labels: Labels::new(),
        pod: pod(),
        retries: 0,
        timeout: None,
        stop: StopSpec::default(),
        logs: LogSpec::default(),
    }
}
