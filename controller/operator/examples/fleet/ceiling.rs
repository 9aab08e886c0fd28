//! What an API server needs for the objects themselves: server-side applies of a plain client, on a control plane of its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::counting::{DEPLOYMENTS, watched_until};
use crate::operator::Running;
use crate::plane::{OBJECTS, Plane, send};

/// The objects of one App are taken from what the operator made, and applied once for each App under other names.
pub async fn measure(apps: usize, program: &Path) -> Value {
    let plane = Plane::start(apps).await;
    let running = Running::start(&plane, program, "10m");
    plane.try_out().await;
    running.stop();
    let objects = objects_of_one(&plane).await;
    let ready = tokio::spawn(watched_until(plane.client.clone(), DEPLOYMENTS, "new", apps));
    // They name each other, too: a Deployment its ServiceAccount.
    let names: BTreeSet<&str> = objects.iter().map(|object| object.name.as_str()).collect();
    let named = |number| objects.iter().map(move |object| (object, number));
    let requests = (0..apps)
        .flat_map(named)
        .map(|(object, number)| apply(object, &names, number));
    let requests = requests.collect();
    let began = Instant::now();
    send(&plane.client, requests).await;
    let exist = began.elapsed().as_secs_f64();
    json!({ "existS": exist, "readyS": ready.await.unwrap() })
}

struct Template {
    path: String,
    name: String,
    owner: String,
    object: Value,
}

async fn objects_of_one(plane: &Plane) -> Vec<Template> {
    let mut templates = Vec::new();
    for path in OBJECTS {
        let list = path.replace("NAMESPACE", "try") + "?labelSelector=portolan.dev/owner";
        let request = http::Request::get(list).body(Vec::new()).unwrap();
        let list: Value = plane.client.request(request).await.unwrap();
        let mut object = list["items"][0].clone();
        let metadata = object["metadata"].take();
        let (api, kind) = (&list["apiVersion"], list["kind"].as_str().unwrap());
        object["apiVersion"] = api.clone();
        object["kind"] = json!(kind.trim_end_matches("List"));
        object["metadata"] = json!({
            "name": metadata["name"], "namespace": "new",
            "labels": metadata["labels"], "annotations": metadata["annotations"],
        });
        object.as_object_mut().unwrap().remove("status");
        // A ServiceAccount has none, and must not get one.
        for given in ["clusterIP", "clusterIPs"] {
            let spec = object.get_mut("spec").and_then(Value::as_object_mut);
            spec.map(|spec| spec.remove(given));
        }
        templates.push(Template {
            path: path.replace("NAMESPACE", "new"),
            name: metadata["name"].as_str().unwrap().into(),
            owner: metadata["labels"]["portolan.dev/owner"].as_str().unwrap().into(),
            object,
        });
    }
    templates
}

fn apply(template: &Template, names: &BTreeSet<&str>, number: usize) -> http::Request<Vec<u8>> {
    let name = format!("{}-{number:05}", template.name);
    let owner = format!("{}{number:05}", &template.owner[..15]);
    let text = template.object.to_string();
    let text = text.replace(&template.owner, &owner);
    let renamed = |text: String, name: &&str| text.replace(name, &format!("{name}-{number:05}"));
    let text = names.iter().fold(text, renamed);
    let path = format!("{}/{name}?fieldManager=plain&force=true", template.path);
    let request = http::Request::patch(path).header("Content-Type", "application/apply-patch+yaml");
    request.body(text.into_bytes()).unwrap()
}
