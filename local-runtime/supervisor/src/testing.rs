//! Small specs for the tests of this crate.

use std::time::Duration;

use crate::spec::*;

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
        restart: RestartPolicy::Always,
        stop: StopSpec {
            grace_period: Duration::from_secs(10),
            ..Default::default()
        },
        rollout: RolloutSpec::default(),
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
    }
}
