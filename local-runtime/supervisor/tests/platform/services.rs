//! Services: replicas, ports, names, files, users, limits.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;

use portolan_supervisor::ClientError;
use portolan_supervisor::protocol::ObjectState;
use portolan_supervisor::spec::{FileSpec, Kind, Object, Publish, SecretRef, VolumeMount};

use crate::app::{App, container, get, service};

#[tokio::test]
async fn two_replicas_answer_behind_one_port_and_nothing_stays() {
    let Some(app) = App::new("two_replicas_answer_behind_one_port_and_nothing_stays").await else {
        return;
    };
    app.put_service(service("web", 2, "hello")).await;
    let address = app.address("web").await;
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        seen.insert(get(address, "/").await.unwrap());
    }
    assert_eq!(
        seen,
        BTreeSet::from(["hello from web-1".to_string(), "hello from web-2".to_string()])
    );
    assert!(
        app.traces().await.cgroups.len() > 2,
        "what is to be gone is looked for where it is"
    );
    app.delete_everything().await;
    assert!(get(address, "/").await.is_err(), "the port is free again");
}

#[tokio::test]
async fn services_find_each_other_by_name() {
    let Some(app) = App::new("services_find_each_other_by_name").await else {
        return;
    };
    let mut api = service("api", 1, "catalog");
    api.ports[0].publish = None;
    app.put_service(service("web", 1, "hello")).await;
    app.ready(Kind::Service, "web").await;
    app.put_service(api).await;
    app.ready(Kind::Service, "api").await;
    let address = app.address("web").await;
    assert_eq!(
        get(address, "/fetch/api/8080").await.unwrap(),
        "catalog from api-2",
        "one that came later"
    );
    let unknown = get(address, "/fetch/nobody/8080").await.unwrap();
    assert!(unknown.starts_with("nobody: "), "{unknown}");
    app.delete(Kind::Service, "api").await;
    let gone = get(address, "/fetch/api/8080").await.unwrap();
    assert!(gone.starts_with("api: "), "a name goes with its service: {gone}");
    app.delete_everything().await;
}

#[tokio::test]
async fn a_container_gets_its_files_secrets_user_and_names() {
    let Some(app) = App::new("a_container_gets_its_files_secrets_user_and_names").await else {
        return;
    };
    let secrets = app.launch.data_dir.with_file_name("secrets.env");
    std::fs::write(&secrets, "API_KEY=hunter2\n").unwrap();
    let mut web = service("web", 1, "hello");
    let main = &mut web.pod.main;
    main.user = "app".into();
    main.env.insert("PLAIN".into(), "value".into());
    main.files.push(FileSpec {
        path: "/etc/app/app.toml".into(),
        content: "a = 1".into(),
        mode: 0o644,
    });
    main.secret_env.insert(
        "TOKEN".into(),
        SecretRef {
            files: vec![secrets],
            key: "API_KEY".into(),
        },
    );
    app.put_service(web).await;
    let address = app.address("web").await;
    for (reason, path, expected) in [
        ("a variable", "/env/PLAIN", "value"),
        ("a secret", "/env/TOKEN", "hunter2"),
        ("a file", "/file/etc/app/app.toml", "a = 1"),
        ("its own name", "/file/etc/hostname", "web-1\n"),
    ] {
        assert_eq!(get(address, path).await.unwrap(), expected, "{reason}");
    }
    let status = get(address, "/file/proc/self/status").await.unwrap();
    assert!(status.contains("Uid:\t1000\t1000"), "{status}");
    let holding = Command::new("grep")
        .args(["-rl", "hunter2"])
        .arg(&app.launch.state_dir)
        .output();
    assert_eq!(
        String::from_utf8_lossy(&holding.unwrap().stdout),
        "",
        "no file of the state holds the secret"
    );
    app.delete_everything().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused_and_nothing_is_changed() {
    let Some(app) = App::new("a_port_that_is_taken_is_refused_and_nothing_is_changed").await else {
        return;
    };
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut web = service("web", 1, "hello");
    let port = other.local_addr().unwrap().port();
    web.ports[0].publish = Some(Publish {
        address: "127.0.0.1".parse().unwrap(),
        port,
    });
    let refused = app.client().await.put(Object::Service(web)).await.unwrap_err();
    let ClientError::Refused(body) = refused else {
        panic!("{refused}")
    };
    assert_eq!(body.code, "PortInUse");
    assert!(
        body.message.contains(&format!("pid {}", std::process::id())),
        "{}",
        body.message
    );
    assert!(app.observe().await.find(Kind::Service, "web").is_none());
    app.delete_everything().await;
}

#[tokio::test]
async fn a_published_port_may_be_renamed() {
    let Some(app) = App::new("a_published_port_may_be_renamed").await else {
        return;
    };
    let mut web = service("web", 1, "hello");
    app.put_service(web.clone()).await;
    let address = app.address("web").await;
    web.ports[0].name = "www".into();
    app.put_service(web).await;
    assert_eq!(app.service("web").await.endpoints[0].name, "www");
    assert_eq!(get(address, "/").await.unwrap(), "hello from web-1", "the same replica");
    app.delete_everything().await;
}

#[tokio::test]
async fn a_process_killed_by_hand_is_healed() {
    let Some(app) = App::new("a_process_killed_by_hand_is_healed").await else {
        return;
    };
    app.put_service(service("web", 1, "hello")).await;
    let address = app.address("web").await;
    let before = app.pids("web").await;
    crate::machine::kill(before[0]);
    let healed = |seen: &portolan_supervisor::protocol::Observed| {
        seen.state == ObjectState::Ready && seen.service.as_ref().is_some_and(|service| service.restarts == 1)
    };
    app.until(Kind::Service, "web", healed).await;
    assert_ne!(app.pids("web").await, before);
    assert_eq!(get(address, "/").await.unwrap(), "hello from web-1");
    app.delete_everything().await;
}

#[tokio::test]
async fn a_volume_outlives_its_service_and_comes_back() {
    let Some(app) = App::new("a_volume_outlives_its_service_and_comes_back").await else {
        return;
    };
    let mut web = service("web", 1, "hello");
    web.pod.main.volumes.push(VolumeMount {
        name: "data".into(),
        path: "/data".into(),
        read_only: false,
    });
    let mut writes = container("writes", &["append", "/data/visits", "one"]);
    writes.volumes = web.pod.main.volumes.clone();
    web.pod.init.push(writes);
    app.put_service(web.clone()).await;
    let address = app.address("web").await;
    assert_eq!(get(address, "/file/data/visits").await.unwrap(), "one\n");
    app.delete_everything().await;
    assert!(app.data("data").join("visits").exists(), "the data stays");
    app.put(serde_json::json!({"kind": "network", "name": "app"})).await;
    assert_eq!(app.observe().await.kept_volumes, ["data"]);
    app.put(serde_json::json!({"kind": "volume", "name": "data"})).await;
    app.put_service(web).await;
    let address = app.address("web").await;
    assert_eq!(
        get(address, "/file/data/visits").await.unwrap(),
        "one\none\n",
        "and is taken up again"
    );
    app.delete_everything().await;
    app.client().await.delete(Kind::Volume, "data", true).await.unwrap();
    assert!(!app.launch.data_dir.exists(), "erased, it leaves nothing");
    app.delete_everything().await;
}

#[tokio::test]
async fn a_volume_that_could_not_be_made_is_made_by_the_next_put() {
    let Some(app) = App::new("a_volume_that_could_not_be_made_is_made_by_the_next_put").await else {
        return;
    };
    let (folder, aside) = (app.launch.data_dir.join("volumes"), app.launch.data_dir.join("aside"));
    let other = serde_json::json!({"kind": "volume", "name": "other"});
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, "no folder").unwrap();
    let object = serde_json::from_value(other.clone()).unwrap();
    let refused = app.client().await.put(object).await.unwrap_err();
    assert!(refused.to_string().contains("cannot write"), "{refused}");
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    app.put(other).await;
    assert!(app.data("other").is_dir());
    app.delete_everything().await;
}

#[tokio::test]
async fn a_container_over_its_memory_is_ended_and_named() {
    let Some(app) = App::new("a_container_over_its_memory_is_ended_and_named").await else {
        return;
    };
    let mut web = service("web", 1, "hello");
    web.pod.main.command = ["/bin/app", "eat"].map(String::from).to_vec();
    web.pod.main.resources.memory_bytes = Some(16 << 20);
    app.put_service(web).await;
    let failed = app
        .until(Kind::Service, "web", |seen| {
            matches!(seen.state, ObjectState::Failed(_))
        })
        .await;
    let ObjectState::Failed(failure) = failed.state else {
        unreachable!("it was waited for")
    };
    assert_eq!(failure.reason, "OomKilled", "{}", failure.message);
    let said = &failure.message;
    assert!(said.starts_with("main exceeded 16Mi (replica 1, "), "{said}");
    app.delete_everything().await;
}

#[tokio::test]
async fn what_containers_use_is_told() {
    let Some(app) = App::new("what_containers_use_is_told").await else {
        return;
    };
    let mut web = service("web", 2, "hello");
    web.pod.main.resources.memory_bytes = Some(64 << 20);
    web.pod.main.resources.cpu_millis = Some(500);
    web.pod.main.resources.pids = Some(16);
    app.put_service(web).await;
    app.ready(Kind::Service, "web").await;
    let told = app.client().await.stats().await.unwrap();
    let names: Vec<_> = told.iter().map(|one| (one.workload.as_str(), one.replica)).collect();
    assert_eq!(names, [("web", 1), ("web", 2)]);
    for one in told {
        let limits = (one.memory_limit_bytes, one.cpu_limit_millis, one.pids_limit);
        assert_eq!(limits, (Some(64 << 20), Some(500), Some(16)));
        assert!(
            one.memory_bytes.is_some_and(|bytes| bytes > 0 && bytes < 64 << 20),
            "{one:?}"
        );
        assert!(one.cpu_us.is_some() && one.pids.is_some_and(|pids| pids > 0), "{one:?}");
    }
    app.delete_everything().await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let Some(app) = App::new("what_cannot_start_says_why").await else {
        return;
    };
    let mut web = service("web", 1, "hello");
    web.pod.main.command = vec!["/bin/nothing".into()];
    app.put_service(web).await;
    let failed = app
        .until(Kind::Service, "web", |seen| {
            matches!(seen.state, ObjectState::Failed(_))
        })
        .await;
    let ObjectState::Failed(failure) = failed.state else {
        unreachable!("it was waited for")
    };
    assert_eq!(failure.reason, "StartFailed");
    assert!(failure.message.contains("/bin/nothing"), "{}", failure.message);
    app.delete_everything().await;
}
