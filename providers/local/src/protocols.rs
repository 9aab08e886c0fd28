//! What is spoken on the ports of a service. The supervisor carries connections or datagrams and need not know more; a body
//! says it in the manifest's word, and on the way to the supervisor and back it travels as a label.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use portolan_supervisor::spec::{Labels, Protocol};
use serde_json::{Value, json};

/// `NAME=PROTOCOL` for each port, joined by commas.
const LABEL: &str = "portolan.dev/protocols";

/// By what the supervisor carries a protocol of the manifest.
pub fn carried(protocol: &str) -> Protocol {
    match protocol {
        "udp" => Protocol::Udp,
        _ => Protocol::Tcp,
    }
}

/// A port of the host as a plan's claim: one number is one port for TCP and another one for UDP.
pub fn claim(protocol: Protocol, address: Ipv4Addr, port: u16) -> String {
    let suffix = match protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "/udp",
    };
    format!("host-port/{address}:{port}{suffix}")
}

/// Leaves in a body what the supervisor knows, and answers the label for the rest.
pub fn take(body: &mut Value) -> Option<(String, String)> {
    let ports = body.get_mut("ports")?.as_array_mut()?;
    let mut spoken = Vec::new();
    for port in ports {
        let name = port.get("name")?.as_str()?.to_string();
        let protocol = port.get("protocol")?.as_str()?.to_string();
        port["protocol"] = json!(carried(&protocol));
        spoken.push(format!("{name}={protocol}"));
    }
    (!spoken.is_empty()).then(|| (LABEL.to_string(), spoken.join(",")))
}

/// Puts the manifest's words back into a body. A port without one in the label is left as the supervisor says it.
pub fn restore(body: &mut Value, labels: &Labels) {
    let spoken = of(labels);
    let ports = body.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let known = port
            .get("name")
            .and_then(Value::as_str)
            .and_then(|name| spoken.get(name));
        if let Some(protocol) = known {
            port["protocol"] = json!(protocol);
        }
    }
}

/// Port name -> protocol.
pub fn of(labels: &Labels) -> BTreeMap<&str, &str> {
    let spoken = labels.get(LABEL).map(String::as_str).unwrap_or_default();
    spoken.split(',').filter_map(|entry| entry.split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_come_back_as_they_went() {
        let body = json!({"ports": [
            {"name": "http", "port": 8080, "protocol": "http"},
            {"name": "db", "port": 5432, "protocol": "tcp"},
            {"name": "dns", "port": 53, "protocol": "udp"},
        ]});
        let mut sent = body.clone();
        let (key, value) = take(&mut sent).unwrap();
        assert_eq!(sent["ports"][0]["protocol"], "tcp", "connections");
        assert_eq!(sent["ports"][2]["protocol"], "udp", "datagrams");
        assert_eq!(value, "http=http,db=tcp,dns=udp");
        restore(&mut sent, &Labels::from([(key, value)]));
        assert_eq!(sent, body);
    }

    #[test]
    fn what_has_no_ports_has_no_label() {
        for body in [json!({"name": "data"}), json!({"ports": []}), Value::Null] {
            assert_eq!(take(&mut body.clone()), None, "{body}");
        }
    }
}
