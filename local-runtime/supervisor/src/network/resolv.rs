//! The `/etc/resolv.conf` of a container: the machine's name servers, as far as containers reach them.

use std::fs;
use std::net::Ipv4Addr;

const MACHINE: &str = "/etc/resolv.conf";
/// What systemd-resolved asks itself: it writes its own loopback address into the other one.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// Read at each start of a container.
pub fn resolv_conf() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let machine = reachable(&read(MACHINE));
    let found = if names_a_server(&machine) {
        machine
    } else {
        reachable(&read(RESOLVED))
    };
    if names_a_server(&found) {
        found
    } else {
        nobody("The machine names no server that containers reach.")
    }
}

/// For containers that have no way out of their network.
pub fn closed() -> String {
    nobody("There is no way out of this network.")
}

fn nobody(reason: &str) -> String {
    format!("# Services are in /etc/hosts. {reason}\n")
}

/// The machine's lines but for comments and for servers at the machine's loopback addresses or by IPv6, which an app's
/// network does not have.
fn reachable(text: &str) -> String {
    let kept = text.lines().filter(|line| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("nameserver"), Some(address)) => address.parse().is_ok_and(|a: Ipv4Addr| !a.is_loopback()),
            (Some("search" | "options" | "domain" | "sortlist"), Some(_)) => true,
            _ => false,
        }
    });
    kept.map(|line| format!("{line}\n")).collect()
}

fn names_a_server(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("nameserver"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_containers_reach_are_kept() {
        for (reason, text, expected) in [
            ("as it is", "nameserver 192.0.2.53\n", "nameserver 192.0.2.53\n"),
            (
                "a stub",
                "# by resolved\nnameserver 127.0.0.53\noptions edns0\n",
                "options edns0\n",
            ),
            (
                "by IPv6",
                "nameserver 2001:db8::1\nnameserver 192.0.2.1\n",
                "nameserver 192.0.2.1\n",
            ),
            (
                "where to search",
                "search a.example b.example\n",
                "search a.example b.example\n",
            ),
        ] {
            assert_eq!(reachable(text), expected, "{reason}");
        }
    }
}
