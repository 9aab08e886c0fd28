//! Two apps, of which one lets the other use a service.

use portolan_supervisor::spec::Kind;
use serde_json::json;

use crate::app::{App, service};
use crate::machine::kill;
use crate::outside::ask;

/// What a container of `shop` sees of `http://catalog:8080`.
async fn answer(shop: &App) -> String {
    ask(shop.pids("web").await[0], "/fetch/catalog/8080")
}

async fn allow(serving: &App, apps: &[&str]) {
    let mut api = service("api", 1, "hello");
    api.allow = apps.iter().map(ToString::to_string).collect();
    serving.put_service(api).await;
    serving.ready(Kind::Service, "api").await;
}

#[tokio::test]
async fn an_app_uses_a_service_of_another_while_that_lets_it() {
    let test = "an_app_uses_a_service_of_another_while_that_lets_it";
    let (Some(mut shop), Some(mut catalog), Some(mut thief)) = (
        App::empty(&format!("{test}-s")),
        App::empty(&format!("c-{test}")),
        App::empty(&format!("t-{test}")),
    ) else {
        return;
    };
    // The folders of all apps lie beside each other.
    let folder = tempfile::tempdir().unwrap();
    for (app, name) in [(&mut shop, "shop"), (&mut catalog, "catalog"), (&mut thief, "thief")] {
        app.launch.run_dir = folder.path().join(name);
    }
    let uses = json!([{"name": "catalog", "app": "catalog", "service": "api", "port": 8080}]);
    for app in [&shop, &thief] {
        app.put_basics().await;
        app.put(json!({"kind": "network", "name": "app", "uses": uses})).await;
        app.put_service(service("web", 1, "web")).await;
        app.ready(Kind::Service, "web").await;
    }
    const CLOSED: &str = "no answer";
    assert_eq!(answer(&shop).await, CLOSED, "the other app is not there");

    catalog.put_basics().await;
    allow(&catalog, &[]).await;
    assert_eq!(answer(&shop).await, CLOSED, "it lets nobody");
    allow(&catalog, &["shop"]).await;
    assert!(
        answer(&shop).await.starts_with("hello from api-"),
        "{}",
        answer(&shop).await
    );
    assert_eq!(answer(&thief).await, CLOSED, "it lets another app, not this one");

    for app in [&catalog, &shop] {
        kill(app.keeper());
        kill(app.client().await.welcome().pid);
        app.ready(
            Kind::Service,
            if app.launch.app == shop.launch.app {
                "web"
            } else {
                "api"
            },
        )
        .await;
    }
    assert!(
        answer(&shop).await.starts_with("hello"),
        "after all four processes were killed"
    );

    allow(&catalog, &[]).await;
    assert_eq!(answer(&shop).await, CLOSED, "as soon as it does not any more");
    for app in [&shop, &thief, &catalog] {
        app.delete_everything().await;
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "no socket is left"
    );
}
