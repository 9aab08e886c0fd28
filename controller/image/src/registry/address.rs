//! Where requests may go. The addresses of a cloud's metadata service hand out credentials to whoever asks from the
//! machine; a registry, a realm or a redirect that leads there is an attack.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::error::{Error, Result};

/// Metadata services outside the link-local ranges: Amazon's and Google's over IPv6, Alibaba's over IPv4.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// Whether no request may go to this address: link-local, metadata, multicast and unspecified ones, also where an
/// IPv4 address is wrapped in an IPv6 one.
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_forbidden_v4(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_forbidden_v4(v4),
            None => v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() || METADATA_V6.contains(&v6),
        },
    }
}

/// Whether a host's name or literal means this machine.
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
        Ok(IpAddr::V4(v4)) => v4.is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost"),
    }
}

/// Scheme, host and port: what credentials are bound to.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host_str() == b.host_str() && a.port_or_known_default() == b.port_or_known_default()
}

/// `host` or `host:port` as registries are written.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Checks a URL before a request is made to it on behalf of `registry`, whose own URL is `base`.
///
/// # Errors
/// [`Error::AddressForbidden`] with the reason.
pub(super) fn check(url: &Url, base: &Url) -> Result<()> {
    let refuse = |reason| {
        Err(Error::AddressForbidden {
            address: authority(url),
            reason,
        })
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("a URL with a password in it is not followed");
    }
    let host = url.host_str().unwrap_or_default();
    if host.trim_matches(['[', ']']).parse().is_ok_and(is_forbidden) {
        return refuse("it is a link-local, metadata or otherwise special address");
    }
    if same_origin(url, base) {
        return Ok(());
    }
    if is_loopback_host(host) && !is_loopback_host(base.host_str().unwrap_or_default()) {
        return refuse("a registry elsewhere must not send requests to this machine");
    }
    match (url.scheme(), base.scheme()) {
        ("https", _) | ("http", "http") => Ok(()),
        ("http", _) => refuse("a registry over HTTPS must not lead to plain HTTP"),
        _ => refuse("only HTTP and HTTPS are followed"),
    }
}

/// Resolves names, and leaves out what [`is_forbidden`].
#[derive(Debug)]
pub(super) struct CheckedDns;

impl Resolve for CheckedDns {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<_> = found
                .iter()
                .copied()
                .filter(|address| !is_forbidden(address.ip()))
                .collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err("the name leads to a link-local or metadata address".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn is_forbidden_v4(v4: Ipv4Addr) -> bool {
    let special = v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0;
    special || v4 == METADATA_V4
}

/// The IPv4 address inside a mapped, a compatible or a NAT64 one.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = || {
        let [.., a, b, c, d] = v6.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(low()),
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => Some(low()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_forbidden() {
        for (text, forbidden) in [
            ("169.254.169.254", true),
            ("169.254.0.1", true),
            ("100.100.100.200", true),
            ("0.0.0.0", true),
            ("224.0.0.1", true),
            ("fe80::1", true),
            ("fd00:ec2::254", true),
            ("fd20:ce::254", true),
            ("::ffff:169.254.169.254", true),
            ("::169.254.169.254", true),
            ("64:ff9b::a9fe:a9fe", true),
            ("::", true),
            ("ff02::1", true),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("::1", false),
            ("fd00::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_forbidden(text.parse().unwrap()), forbidden, "{text}");
        }
    }

    #[test]
    fn a_url_is_judged_by_where_it_comes_from() {
        for (base, url, allowed, reason) in [
            (
                "https://r.example",
                "https://cdn.example/x",
                true,
                "a redirect to storage",
            ),
            (
                "https://r.example",
                "http://r.example/x",
                false,
                "plain HTTP after HTTPS",
            ),
            (
                "https://r.example",
                "http://cdn.example/x",
                false,
                "plain HTTP elsewhere",
            ),
            ("https://r.example", "https://127.0.0.1/x", false, "this machine"),
            (
                "https://r.example",
                "https://localhost:8443/x",
                false,
                "this machine by name",
            ),
            ("https://r.example", "https://169.254.169.254/latest", false, "metadata"),
            (
                "https://r.example",
                "https://0xa9fea9fe/latest",
                false,
                "metadata as one number",
            ),
            (
                "https://r.example",
                "https://[::ffff:a9fe:a9fe]/",
                false,
                "metadata in IPv6",
            ),
            ("https://r.example", "https://u:p@cdn.example/", false, "a password"),
            ("https://r.example", "file:///etc/passwd", false, "another scheme"),
            (
                "http://127.0.0.1:5000",
                "http://127.0.0.1:6000/x",
                true,
                "loopback to loopback",
            ),
            (
                "http://127.0.0.1:5000",
                "http://169.254.169.254/",
                false,
                "loopback to metadata",
            ),
            (
                "http://169.254.169.254",
                "http://169.254.169.254/",
                false,
                "metadata as the registry itself",
            ),
        ] {
            let verdict = check(&url.parse().unwrap(), &base.parse().unwrap());
            assert_eq!(verdict.is_ok(), allowed, "{reason}");
        }
    }
}
