//! The `/etc/hosts` of a container.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The loopback names, the pod's own, then every service's.
pub fn hosts_file(own: (&str, Ipv4Addr), services: &BTreeMap<String, Ipv4Addr>) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    text.push_str(&format!("{}\t{}\n", own.1, own.0));
    for (name, address) in services {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}
