//! Who holds a port of the host, as far as /proc tells.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

use crate::spec::Protocol;

/// `pid 4711 (nginx)`; `None` if it belongs to somebody whose descriptors we may not see.
pub fn of(protocol: Protocol, wanted: SocketAddrV4) -> Option<String> {
    let (paths, state) = match protocol {
        Protocol::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], LISTEN),
        Protocol::Udp => (["/proc/net/udp", "/proc/net/udp6"], UNCONNECTED),
    };
    let tables = paths.map(|path| fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<String> = tables
        .iter()
        .flat_map(|table| waiting_inodes(table, state, wanted))
        .collect();
    let holder = fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        holds(pid, &inodes).then_some(pid)
    })?;
    let name = fs::read_to_string(format!("/proc/{holder}/comm")).unwrap_or_default();
    Some(format!("pid {holder} ({})", name.trim()))
}

/// States of sockets that take what comes, as proc_net_tcp.txt has them: TCP_LISTEN, and TCP_CLOSE for UDP.
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// Column 2 is the local address, column 4 the state, column 10 the inode.
fn waiting_inodes(table: &str, state: &str, wanted: SocketAddrV4) -> Vec<String> {
    let rows = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let stands_in_the_way = |row: &Vec<&str>| {
        let listens = row.len() > 9 && row[3] == state;
        listens && local_address(row[1]).is_some_and(|(ip, port)| port == wanted.port() && overlap(ip, *wanted.ip()))
    };
    rows.filter(stands_in_the_way).map(|row| row[9].to_string()).collect()
}

/// `0100007F:1F90`, or 32 digits before the colon. Each word of an address is in the machine's own byte order.
fn local_address(field: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = field.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?)).to_canonical()
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

/// Two sockets cannot listen on one port when their addresses are the same, or when either stands for all.
fn overlap(held: IpAddr, wanted: Ipv4Addr) -> bool {
    held == wanted || held.is_unspecified() || (wanted.is_unspecified() && held.is_ipv4())
}

fn holds(pid: u32, inodes: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .filter_map(Result::ok)
        .filter_map(|d| fs::read_link(d.path()).ok())
        .any(|target| {
            let target = target.to_string_lossy().into_owned();
            inodes.iter().any(|inode| target == format!("socket:[{inode}]"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            panic!("bound to IPv4")
        };
        let holder = of(Protocol::Tcp, address).unwrap();
        assert!(holder.starts_with(&format!("pid {} (", std::process::id())), "{holder}");
    }

    #[test]
    fn only_an_address_that_overlaps_stands_in_the_way() {
        let wide = |digits: &str| format!("{:0>32}", digits);
        let host = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        for (reason, held, wanted, expected) in [
            ("the very same", host([127, 0, 0, 1]), "127.0.0.1:8080", true),
            ("another port", host([127, 0, 0, 1]), "127.0.0.1:8081", false),
            (
                "our own on the app's network",
                host([10, 7, 8, 2]),
                "127.0.0.1:8080",
                false,
            ),
            ("one for all addresses", host([0; 4]), "127.0.0.1:8080", true),
            ("one for all of both families", wide(""), "127.0.0.1:8080", true),
            ("ours would be for all", host([10, 7, 8, 2]), "0.0.0.0:8080", true),
            ("IPv6 alone", wide(&host([0, 0, 0, 1])), "127.0.0.1:8080", false),
        ] {
            let row = format!("0: {held}:1F90 00000000:0000 0A 0:0 0:0 0 0 0 4711 1");
            let found = waiting_inodes(&format!("heading\n{row}\n"), LISTEN, wanted.parse().unwrap());
            assert_eq!(!found.is_empty(), expected, "{reason}");
        }
    }
}
