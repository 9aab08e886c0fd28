//! One container, in the manifest's words.

use portolan_core::manifest::ByteQuantity;
use serde_json::{Value, json};

use super::{Found, Told, name_of, put};
use crate::read::{items, number, text};

const KNOWN: &[&str] = &[
    "name",
    "image",
    "imagePullPolicy",
    "command",
    "args",
    "workingDir",
    "env",
    "ports",
    "resources",
    "volumeMounts",
    "securityContext",
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
    "restartPolicy",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "lifecycle",
];

/// Of a pod's or a container's security context: whose it runs as, and what is said of every pod of ours.
pub const OF_A_USER: &[&str] = &[
    "runAsUser",
    "runAsGroup",
    "fsGroup",
    "fsGroupChangePolicy",
    "seccompProfile",
];

pub fn name(container: &Value) -> String {
    text(container, "/name").unwrap_or_default().to_string()
}

pub fn read(found: &Found, pod: &Value, container: &Value, told: &mut Told) -> Value {
    let place = format!("container `{}`", name(container));
    told.leaves_all_but(&place, container, KNOWN);
    told.leaves_all_but(
        &format!("{place}.securityContext"),
        &container["securityContext"],
        OF_A_USER,
    );
    let lifecycle = &container["lifecycle"];
    told.leaves_all_but(&format!("{place}.lifecycle"), lifecycle, &["preStop"]);
    told.leaves_all_but(&format!("{place}.lifecycle.preStop"), &lifecycle["preStop"], &["sleep"]);
    let mut read = json!({});
    for field in ["image", "workingDir"] {
        put(&mut read, field, container[field].clone());
    }
    for field in ["command", "args"] {
        let words: Vec<&str> = items(container, &format!("/{field}"))
            .filter_map(Value::as_str)
            .collect();
        if words.iter().any(|word| word.contains("$(")) {
            told.leaves(format!("{place}.{field}"));
        } else {
            put(
                &mut read,
                field,
                json!(words.iter().map(|word| word.replace("$$", "$")).collect::<Vec<_>>()),
            );
        }
    }
    put(&mut read, "user", user(pod, container));
    variables(&mut read, container, &place, told);
    mounts(&mut read, found, pod, container, &place, told);
    put(&mut read, "resources", resources(container, &place, told));
    read
}

fn user(pod: &Value, container: &Value) -> Value {
    let said = |field: &str| {
        let of = |object: &Value| object["securityContext"][field].as_i64();
        of(container).or_else(|| of(pod))
    };
    match (said("runAsUser"), said("runAsGroup")) {
        (Some(user), Some(group)) => json!(format!("{user}:{group}")),
        (Some(user), None) => json!(user.to_string()),
        _ => Value::Null,
    }
}

/// What a file's mode is if nobody says another.
const USUAL_MODE: u64 = 0o644;

fn variables(read: &mut Value, container: &Value, place: &str, told: &mut Told) {
    for variable in items(container, "/env") {
        let name = name(variable);
        let secret = &variable["valueFrom"]["secretKeyRef"];
        match (
            text(variable, "/value"),
            secret["name"].as_str(),
            &variable["valueFrom"],
        ) {
            // A kubelet puts another variable there; a manifest has no such reference.
            (Some(value), _, _) if value.contains("$(") => told.leaves(format!("{place}.env.{name}")),
            (Some(value), _, _) => read["env"][name] = json!(value.replace("$$", "$").replace("${", "$${")),
            (_, Some(secret_name), _) => {
                read["secrets"][name] = json!({ "name": secret_name, "key": secret["key"] });
            }
            (_, _, Value::Null) => read["env"][name] = json!(""),
            _ => told.leaves(format!("{place}.env.{name}")),
        }
    }
}

fn mounts(read: &mut Value, found: &Found, pod: &Value, container: &Value, place: &str, told: &mut Told) {
    let (mut volumes, mut files) = (Vec::new(), Vec::new());
    for mount in items(container, "/volumeMounts") {
        let volume = items(pod, "/volumes").find(|volume| volume["name"] == mount["name"]);
        let volume = volume.unwrap_or(&Value::Null);
        let path = text(mount, "/mountPath").unwrap_or_default();
        let claim = text(volume, "/persistentVolumeClaim/claimName").filter(|_| mount.get("subPath").is_none());
        if let Some(claim) = claim {
            // Of the app: two pods may call two claims the same.
            let mut one = json!({ "name": claim, "path": path });
            if mount["readOnly"] == true {
                one["readOnly"] = json!(true);
            }
            put(&mut one, "size", size(found, claim, told));
            volumes.push(one);
            told.leaves(format!("{place}: the data in claim {claim}"));
            continue;
        }
        match texts(found, volume, mount, path) {
            Some(texts) => files.extend(texts),
            None => told.leaves(format!("{place}.volumeMounts.{path}")),
        }
    }
    put(read, "volumes", json!(volumes));
    put(read, "files", json!(files));
}

/// As much as it was asked to hold; the rest of what it was asked for is told.
fn size(found: &Found, name: &str, told: &mut Told) -> Value {
    let Some(claim) = found.claims.iter().find(|claim| name_of(claim) == name) else {
        return Value::Null;
    };
    let (place, spec) = (format!("PersistentVolumeClaim/{name}: spec"), &claim["spec"]);
    told.leaves_all_but(&place, spec, &["accessModes", "resources", "volumeMode", "volumeName"]);
    if spec["accessModes"] != json!(["ReadWriteOnce"]) {
        told.leaves(format!("{place}.accessModes"));
    }
    if spec["volumeMode"] == "Block" {
        told.leaves(format!("{place}.volumeMode"));
    }
    let size = &spec["resources"]["requests"]["storage"];
    match serde_json::from_value::<ByteQuantity>(size.clone()) {
        Ok(_) => size.clone(),
        Err(_) => {
            told.leaves(format!("{place}.resources.requests.storage"));
            Value::Null
        }
    }
}

/// Of a ConfigMap that is there: all that a mount shows of it.
fn texts(found: &Found, volume: &Value, mount: &Value, path: &str) -> Option<Vec<Value>> {
    let name = text(volume, "/configMap/name")?;
    let map = found.config_maps.iter().find(|map| name_of(map) == name)?;
    let data = map["data"].as_object()?;
    let mode = volume["configMap"]["defaultMode"].as_u64().unwrap_or(USUAL_MODE);
    if volume["configMap"].get("items").is_some() || mode != USUAL_MODE || map.get("binaryData").is_some() {
        return None;
    }
    if let Some(key) = text(mount, "/subPath") {
        return Some(vec![json!({ "path": path, "content": data.get(key)? })]);
    }
    let files = data
        .iter()
        .map(|(key, content)| json!({ "path": format!("{path}/{key}"), "content": content }));
    Some(files.collect())
}

/// Limits: a manifest asks for as much as it limits.
fn resources(container: &Value, place: &str, told: &mut Told) -> Value {
    let mut resources = json!({});
    let (limits, requests) = (&container["resources"]["limits"], &container["resources"]["requests"]);
    for field in ["cpu", "memory"] {
        put(&mut resources, field, limits[field].clone());
        if requests[field] != limits[field] && !requests[field].is_null() {
            told.leaves(format!("{place}.resources.requests.{field}"));
        }
    }
    told.leaves_all_but(&format!("{place}.resources.limits"), limits, &["cpu", "memory"]);
    resources
}

pub fn health(container: &Value, told: &mut Told) -> Value {
    let mut health = json!({});
    for (field, word) in [
        ("startupProbe", "startup"),
        ("readinessProbe", "ready"),
        ("livenessProbe", "live"),
    ] {
        let probe = &container[field];
        if !probe.is_object() {
            continue;
        }
        match check(container, probe) {
            Some(check) => {
                put(&mut health, word, check);
                let http = format!("container `{}`.{field}.httpGet", name(container));
                let plain = if text(probe, "/httpGet/scheme") == Some("HTTP") {
                    "scheme"
                } else {
                    "path"
                };
                told.leaves_all_but(&http, &probe["httpGet"], &["path", "port", plain]);
                let known = [
                    "httpGet",
                    "tcpSocket",
                    "exec",
                    "periodSeconds",
                    "timeoutSeconds",
                    "failureThreshold",
                    "successThreshold",
                ];
                told.leaves_all_but(&format!("container `{}`.{field}", name(container)), probe, &known);
            }
            None => told.leaves(format!("container `{}`.{field}", name(container))),
        }
    }
    health
}

fn check(container: &Value, probe: &Value) -> Option<Value> {
    let port = |asked: &Value| match asked {
        Value::String(name) => items(container, "/ports")
            .find(|port| port["name"] == *name)
            .map(|port| port["containerPort"].clone()),
        number => Some(number.clone()),
    };
    let mut check = match (&probe["httpGet"], &probe["tcpSocket"], &probe["exec"]) {
        (http, _, _) if http.is_object() => {
            json!({ "http": { "path": text(http, "/path").unwrap_or("/"), "port": port(&http["port"])? } })
        }
        (_, tcp, _) if tcp.is_object() => json!({ "tcp": { "port": port(&tcp["port"])? } }),
        (_, _, exec) if exec.is_object() => json!({ "exec": { "command": exec["command"] } }),
        _ => return None,
    };
    let seconds = |field: &str, usual: u32| {
        format!(
            "{}s",
            number(probe, field).max(if probe.pointer(field).is_none() { usual } else { 1 })
        )
    };
    check["interval"] = json!(seconds("/periodSeconds", 10));
    check["timeout"] = json!(seconds("/timeoutSeconds", 1));
    check["threshold"] = json!(number(probe, "/failureThreshold").max(1));
    Some(check)
}
