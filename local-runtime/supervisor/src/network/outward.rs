//! The way out of an app's network: its table of rules, and forwarding by exactly the links that need it.
//!
//! The kernel forwards what comes in by a link that forwards: for the way out this is the bridge, for the answers the link
//! of the machine's default route. The machine's global switch stays as it is, because it would make all links forward. Which
//! links forward for our sake stands in the tables' comments; the last app that names one puts it back. Whoever wrote its table
//! remembers them too, lest they are forgotten with a table that somebody takes away.

use std::collections::BTreeSet;
use std::fs::{self, File};

use nix::fcntl::{Flock, FlockArg};

use super::firewall::{self, Border, uplinks_in};
use super::names::table_name;
use super::nftables::Nftables;
use super::{NetworkError, failed};
use crate::machine::Subnet;
use crate::spec::Egress;

/// Puts rules and forwarding in place, as often as it is called. `forwarding` are the links that forward for this app's sake.
pub fn set(
    instance: &str,
    bridge: &str,
    subnet: Subnet,
    egress: Egress,
    forwarding: &mut BTreeSet<String>,
) -> Result<(), NetworkError> {
    let _alone = alone()?;
    // A new bridge may forward from its beginning, and must not without rules.
    set_forwarding(bridge, false)?;
    let mut nftables = Nftables::open().map_err(|e| failed("open", "a socket of nf_tables", e))?;
    let own = table_name(instance);
    let named = Named::read(&mut nftables, &own, forwarding)?;
    let uplinks = match egress {
        Egress::Nat => uplinks(),
        Egress::None => BTreeSet::new(),
    };
    let for_apps = |link: &&String| named.ours.union(&named.others).any(|n| n == *link) || !forwards(link);
    let ours: Vec<String> = uplinks.iter().filter(for_apps).cloned().collect();
    let border = Border {
        instance,
        bridge,
        subnet,
        egress,
        uplinks: &ours,
    };
    let table = firewall::table(&border);
    let written = match named.own_table {
        true => nftables.replace(&table),
        false => nftables.create(&table),
    };
    written.map_err(|e| failed("write the table of rules", &own, e))?;
    named.put_back(|link| !ours.contains(link))?;
    for link in &ours {
        set_forwarding(link, true)?;
    }
    *forwarding = BTreeSet::from_iter(ours);
    match egress {
        Egress::None => Ok(()),
        Egress::Nat if uplinks.is_empty() => Err(NetworkError::NoDefaultRoute),
        Egress::Nat => set_forwarding(bridge, true),
    }
}

/// Whether the app's rules are there.
pub fn is_set(instance: &str) -> Result<bool, NetworkError> {
    let mut nftables = Nftables::open().map_err(|e| failed("open", "a socket of nf_tables", e))?;
    let comments = nftables.comments().map_err(|e| failed("list", "tables of rules", e))?;
    Ok(comments.contains_key(&table_name(instance)))
}

/// Leaves the machine as it was before [`set`].
pub fn remove(instance: &str, forwarding: &BTreeSet<String>) -> Result<(), NetworkError> {
    let _alone = alone()?;
    let own = table_name(instance);
    let Ok(mut nftables) = Nftables::open() else {
        return Ok(());
    };
    let named = Named::read(&mut nftables, &own, forwarding)?;
    named.put_back(|_| true)?;
    if !named.own_table {
        return Ok(());
    }
    nftables
        .remove(&own)
        .map_err(|e| failed("remove the table of rules", &own, e))
}

/// Links that forward for the sake of apps, as the tables say.
struct Named {
    own_table: bool,
    ours: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl Named {
    fn read(nftables: &mut Nftables, own: &str, remembered: &BTreeSet<String>) -> Result<Named, NetworkError> {
        let comments = nftables.comments().map_err(|e| failed("list", "tables of rules", e))?;
        let links = |of_own: bool| -> BTreeSet<String> {
            let tables = comments.iter().filter(|(name, _)| (*name == own) == of_own);
            let ours = tables.filter(|(name, _)| name.starts_with(super::names::TABLES));
            ours.flat_map(|(_, comment)| uplinks_in(comment))
                .map(String::from)
                .collect()
        };
        Ok(Named {
            own_table: comments.contains_key(own),
            ours: &links(true) | remembered,
            others: links(false),
        })
    }

    /// Ends the forwarding of links that no other app needs. A link that is gone has nothing to put back.
    fn put_back(&self, unneeded: impl Fn(&String) -> bool) -> Result<(), NetworkError> {
        let links = self.ours.difference(&self.others).filter(|link| unneeded(link));
        links
            .filter(|link| forwards(link))
            .try_for_each(|link| set_forwarding(link, false))
    }
}

/// Apps share the machine's links: one supervisor at a time, in this network namespace.
fn alone() -> Result<Flock<File>, NetworkError> {
    let path = "/proc/thread-self/ns/net";
    let file = File::open(path).map_err(|e| failed("open", path, e))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed("lock", path, errno.into()))
}

/// The links of default routes.
fn uplinks() -> BTreeSet<String> {
    default_links(&fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default())
}

/// Columns of /proc/net/route: link, destination, gateway, flags, three counts, mask, ...
fn default_links(routes: &str) -> BTreeSet<String> {
    let link = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        match columns[..] {
            [link, "00000000", _, _, _, _, _, "00000000", ..] => Some(link.to_string()),
            _ => None,
        }
    };
    routes.lines().filter_map(link).collect()
}

fn forwards(link: &str) -> bool {
    fs::read_to_string(forwarding_of(link)).is_ok_and(|text| text.trim() == "1")
}

fn set_forwarding(link: &str, on: bool) -> Result<(), NetworkError> {
    if forwards(link) == on {
        return Ok(());
    }
    let path = forwarding_of(link);
    fs::write(&path, if on { "1" } else { "0" }).map_err(|e| failed("write", &path, e))
}

fn forwarding_of(link: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{link}/forwarding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_rules_is_written_again_and_removed() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIP a_table_of_rules_is_written_again_and_removed: not root");
            return;
        }
        let subnet = Subnet(std::net::Ipv4Addr::new(10, 1, 2, 0));
        let tables = || Nftables::open().and_then(|mut n| n.comments()).unwrap();
        let inside = || {
            let added = super::super::Netlink::open().and_then(|mut n| n.add_bridge("pt-1", [2, 0, 0, 0, 0, 1]));
            added.unwrap();
            let mut forwarding = BTreeSet::new();
            for egress in [Egress::None, Egress::Nat, Egress::Nat] {
                let set = set("test.app", "pt-1", subnet, egress, &mut forwarding);
                let refused = matches!(set, Err(NetworkError::NoDefaultRoute));
                assert!(set.is_ok() || (egress == Egress::Nat && refused), "{set:?}");
                assert_eq!(tables().into_keys().collect::<Vec<_>>(), ["portolan-test.app"]);
                assert!(!forwards("pt-1"), "not without somewhere to go");
            }
            remove("test.app", &forwarding)?;
            assert!(tables().is_empty());
            remove("test.app", &forwarding)
        };
        super::super::namespace::create(|_| Ok(()), inside).unwrap();
    }

    #[test]
    fn links_of_default_routes_are_found() {
        let header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        for (reason, routes, expected) in [
            ("none", "", vec![]),
            (
                "a default route",
                "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n",
                vec!["eth0"],
            ),
            (
                "a network alone",
                "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n",
                vec![],
            ),
            (
                "half of the world",
                "tun0 00000000 010200C0 0003 0 0 0 00000080 0 0 0\n",
                vec![],
            ),
        ] {
            let found = default_links(&format!("{header}{routes}"));
            assert_eq!(found.into_iter().collect::<Vec<_>>(), expected, "{reason}");
        }
    }
}
