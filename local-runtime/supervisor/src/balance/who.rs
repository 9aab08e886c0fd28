//! Who listens on a port of the host, as far as /proc tells.

use std::fs;
use std::net::SocketAddrV4;

/// `pid 4711 (nginx)`; `None` if it belongs to somebody whose descriptors we may not see.
pub fn listens(wanted: SocketAddrV4) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<String> = tables
        .iter()
        .flat_map(|table| listening_inodes(table, wanted.port()))
        .collect();
    let holder = fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        holds(pid, &inodes).then_some(pid)
    })?;
    let name = fs::read_to_string(format!("/proc/{holder}/comm")).unwrap_or_default();
    Some(format!("pid {holder} ({})", name.trim()))
}

/// Column 2 is `address:port` in hex, column 4 the state (0A: LISTEN), column 10 the inode; see proc_net_tcp.txt.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let rows = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listens = |row: &Vec<&str>| {
        row.len() > 9 && row[3] == "0A" && row[1].rsplit(':').next().is_some_and(|p| p == format!("{port:04X}"))
    };
    rows.filter(listens).map(|row| row[9].to_string()).collect()
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
        let who = listens(address).unwrap();
        assert!(who.starts_with(&format!("pid {} (", std::process::id())), "{who}");
    }
}
