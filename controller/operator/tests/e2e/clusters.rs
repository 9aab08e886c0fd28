//! Two clusters and one operator: each has its Apps, and where one of them cannot be reached the other goes on.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portolan_cluster::{ControlPlane, or_skip};
use serde_json::{Value, json};

use crate::world::{World, app, target, until_within};

/// As many as have their turn at the same time, and some more: all of them on the cluster that is out of reach.
const STRANDED: usize = 20;

/// A call that nobody answers has failed after half a minute, and that is told ten seconds later, while it is tried again.
const OUT_OF_REACH: Duration = Duration::from_secs(90);

/// A way to an address, which somebody may close: what comes then gets no answer, and neither does what was there already.
struct Way {
    address: SocketAddr,
    is_closed: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    fn to(there: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let way = Self {
            address: listener.local_addr().unwrap(),
            is_closed: Arc::default(),
            open: Arc::default(),
        };
        let (is_closed, open) = (way.is_closed.clone(), way.open.clone());
        std::thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                let Ok(there) = TcpStream::connect(there) else { continue };
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let is_closed = is_closed.clone();
                    std::thread::spawn(move || carry(from, to, &is_closed));
                }
                open.lock().unwrap().extend([here, there]);
            }
        });
        way
    }

    /// Nothing is carried any more, and nobody is told.
    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// What was stuck has ended, and what comes is carried.
    fn open(&self) {
        self.is_closed.store(false, Ordering::Relaxed);
        for stream in self.open.lock().unwrap().drain(..) {
            _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_closed: &AtomicBool) {
    let mut bytes = [0; 16 * 1024];
    loop {
        match from.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(_) if is_closed.load(Ordering::Relaxed) => {}
            Ok(count) if to.write_all(&bytes[..count]).is_err() => break,
            Ok(_) => {}
        }
    }
    _ = to.shutdown(Shutdown::Both);
}

/// The kubeconfig of the operator's own cluster, and in it another one by the context `there`, whose user logs in by a plugin.
fn with_another(world: &World, other: &ControlPlane, way: &Way) -> Value {
    let read = |path| -> Value { serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
    let made = read(other.kubeconfig());
    let user = &made["users"][0]["user"];
    let decoded = |field: &str| {
        let text = user[field].as_str().unwrap();
        let path = world.write("credential", text);
        let done = std::process::Command::new("base64")
            .arg("-d")
            .arg(path)
            .output()
            .unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {
            "clientCertificateData": decoded("client-certificate-data"), "clientKeyData": decoded("client-key-data"),
        },
    });
    let credential = world.write("credential.json", &credential.to_string());
    let plugin = world.write("log-in", &format!("#!/bin/sh\ncat {}\n", credential.display()));
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();

    let mut config = world.own_kubeconfig("two");
    let mut cluster = made["clusters"][0]["cluster"].clone();
    cluster["server"] = json!(format!("https://{}", way.address));
    let of = |what: &str, named: Value, config: &mut Value| config[what].as_array_mut().unwrap().push(named);
    of("clusters", json!({ "name": "there", "cluster": cluster }), &mut config);
    of(
        "contexts",
        json!({ "name": "there", "context": { "cluster": "there", "user": "by-plugin" } }),
        &mut config,
    );
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": plugin, "interactiveMode": "Never",
    });
    of(
        "users",
        json!({ "name": "by-plugin", "user": { "exec": exec } }),
        &mut config,
    );
    config
}

fn on(target: &str, name: &str, replicas: u32) -> Value {
    let mut app = app(name, replicas);
    app["spec"]["targets"] = json!([target]);
    app
}

#[test]
fn two_clusters_are_kept_at_once_and_one_goes_on_without_the_other() {
    let test = "two_clusters_are_kept_at_once_and_one_goes_on_without_the_other";
    let Some(world) = World::start(test) else { return };
    let Some(other) = or_skip(test, ControlPlane::start()) else {
        return;
    };
    other.kubectl(&["create", "namespace", "team"]).unwrap();
    let server = other.server();
    let way = Way::to(server.trim_start_matches("https://").parse().unwrap());
    let config = with_another(&world, &other, &way);
    let running = world.operator_by("two", &config);
    let mut there = target("there");
    there["spec"]["kubernetes"] = json!({ "context": "there" });
    world.apply(&there);
    world.apply(&on("here", "near", 1));
    let far: Vec<String> = (0..STRANDED).map(|number| format!("far-{number}")).collect();
    for name in &far {
        world.apply(&on("there", name, 1));
    }
    world.is_ready("near");
    for name in &far {
        world.is_ready(name);
    }
    let count = |of: &str| {
        let deployments = ["get", "deployments", "-n", "team", "-l", of, "-o", "json"];
        let of_plane = |plane: &ControlPlane| -> usize {
            let found: Value = serde_json::from_str(&plane.kubectl(&deployments).unwrap()).unwrap();
            found["items"].as_array().unwrap().len()
        };
        (of_plane(&world.plane), of_plane(&other))
    };
    assert_eq!(count("portolan.dev/target=here"), (1, 0));
    assert_eq!(count("portolan.dev/target=there"), (0, STRANDED));

    way.close();
    for name in &far {
        world.apply(&on("there", name, 2));
    }
    // They have begun to wait for what does not come.
    std::thread::sleep(Duration::from_secs(3));
    let began = Instant::now();
    world.apply(&on("here", "near", 2));
    world.apply(&on("here", "new", 1));
    world.is_ready("near");
    world.is_ready("new");
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "only after {:?}",
        began.elapsed()
    );
    // Those who wait for a turn say so later.
    let mut told = BTreeSet::new();
    until_within(OUT_OF_REACH, "those who are out of reach are told of", || {
        let is_told = |name: &&String| world.condition(name, "Reconciling").contains("ClusterUnreachable");
        told.extend(far.iter().filter(is_told));
        told.len() > STRANDED / 2
    });

    way.open();
    for name in &far {
        world.is_settled("team", name);
    }
    assert_eq!(count("portolan.dev/target=there"), (0, STRANDED));
    drop(running);
}
