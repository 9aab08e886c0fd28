//! UDP: published, inside the app, and through an update.

use std::time::Duration;

use portolan_supervisor::spec::{Kind, Protocol};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::app::{App, container, job, service};

#[tokio::test]
async fn datagrams_reach_a_ready_replica_from_outside_and_inside() {
    let Some(app) = App::new("datagrams_reach_a_ready_replica_from_outside_and_inside").await else {
        return;
    };
    let mut spec = service("dns", 1, "first");
    spec.pod.main = container("main", &["answer-datagrams", "8080"]);
    spec.ports[0].protocol = Protocol::Udp;
    app.put_service(spec.clone()).await;
    let address = app.address("dns").await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(address).await.unwrap();
    assert_eq!(ask(&client).await.unwrap(), "dns-1: hello");
    app.put_job(job("asks", "r1", &["ask-datagram", "dns", "8080"])).await;
    app.ready(Kind::Job, "asks").await;
    assert_eq!(app.logs(Kind::Job, "asks").await, ["dns-1: hello"], "by its name");

    spec.revision = "second".into();
    spec.pod.main.env.insert("NEW".into(), "1".into());
    app.put_service(spec).await;
    app.until(Kind::Service, "dns", |seen| {
        seen.service.as_ref().is_some_and(|s| s.serving_revisions == ["second"])
    })
    .await;
    assert!(
        ask(&client).await.unwrap().starts_with("dns-3: "),
        "the same client, the new replica"
    );
    app.delete_everything().await;
}

async fn ask(client: &UdpSocket) -> std::io::Result<String> {
    client.send(b"hello").await?;
    let mut buffer = [0; 1024];
    let length = timeout(Duration::from_secs(2), client.recv(&mut buffer)).await??;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
