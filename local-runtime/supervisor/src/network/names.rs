//! Names of links, at most 15 characters (IFNAMSIZ), and their hardware addresses: a function of what they stand for.

use std::net::Ipv4Addr;

use crate::hash::{digest, hex};

/// How every app's bridge begins; no other link on the machine should.
pub const BRIDGES: &str = "pt-";
/// How every app's table of rules begins.
pub const TABLES: &str = "portolan-";

/// [`BRIDGES`] and 48 bits of the instance's name.
pub fn bridge_name(instance: &str) -> String {
    format!("{BRIDGES}{}", hex(&digest(instance)[..6]))
}

/// In words, for whoever lists the machine's rules.
pub fn table_name(instance: &str) -> String {
    format!("{TABLES}{instance}")
}

/// `pv` and 52 bits of instance and pod.
pub fn veth_name(instance: &str, pod: u64) -> String {
    let all = hex(&digest(&format!("{instance}\0{pod}"))[..7]);
    format!("pv{}", &all[..13])
}

/// `02` means: given by hand, to one alone.
pub fn bridge_mac(instance: &str) -> [u8; 6] {
    let [a, b, c, d, e, ..] = digest(instance);
    [0x02, a, b, c, d, e]
}

/// The next pod with this address has the same one, so that nobody's table of neighbours is out of date: for some seconds
/// every packet to it would be lost.
pub fn pod_mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x50, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        let mut seen = std::collections::BTreeSet::new();
        for pod in 0..1000 {
            let name = veth_name("default/shop", pod);
            assert!(name.len() <= 15, "{name}");
            assert!(seen.insert(name));
        }
        assert_eq!(bridge_name("default/shop").len(), 15);
        assert_ne!(bridge_name("default/shop"), bridge_name("default/shop2"));
    }
}
