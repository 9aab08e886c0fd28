//! Which /24 an app gets: one that its name leads to, unless something on the machine uses it.

use std::net::Ipv4Addr;

use crate::hash::digest;
use crate::machine::Subnet;

/// The first of 65,536 candidates, beginning at the instance's own, that overlaps none of the addresses taken.
pub fn choose(instance: &str, taken: &[(Ipv4Addr, u8)]) -> Option<Subnet> {
    let hash = digest(instance);
    let start = u16::from_be_bytes([hash[0], hash[1]]);
    let candidates = (0..=u16::MAX).map(|step| start.wrapping_add(step));
    candidates
        .map(subnet)
        .find(|s| taken.iter().all(|(address, prefix)| !overlaps(*s, *address, *prefix)))
}

fn subnet(number: u16) -> Subnet {
    let [b, c] = number.to_be_bytes();
    Subnet(Ipv4Addr::new(10, b, c, 0))
}

fn overlaps(subnet: Subnet, address: Ipv4Addr, prefix: u8) -> bool {
    let shorter = prefix.min(Subnet::PREFIX_LENGTH);
    let mask = u32::MAX.checked_shl(32 - u32::from(shorter)).unwrap_or(0);
    u32::from(subnet.0) & mask == u32::from(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_that_is_taken_is_passed_over() {
        let own = choose("default/shop", &[]).unwrap();
        assert_eq!(choose("default/shop", &[]), Some(own), "the same app gets the same one");
        let address = own.gateway();
        for (reason, prefix) in [
            ("the very same", 24),
            ("an address in it", 32),
            ("a wider one around it", 16),
        ] {
            let other = choose("default/shop", &[(address, prefix)]).unwrap();
            assert!(!overlaps(other, address, prefix), "{reason}: {other:?}");
        }
        assert_eq!(
            choose("default/shop", &[(Ipv4Addr::new(10, 0, 0, 1), 8)]),
            None,
            "all of 10.0.0.0/8 is in use"
        );
    }
}
