//! An address of its own for each cluster: all of 127.0.0.0/8 is this machine, so ports need not be looked for.
//!
//! Ports that the kernel hands out come and go between the look and the use. On an address that nobody else has, below
//! the range that is handed out, the usual ones are free.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Error, Result};

/// A loopback address where nobody listens on `port`.
pub(crate) fn free(port: u16) -> Result<Ipv4Addr> {
    let mut last = None;
    for _ in 0..16 {
        let address = any();
        match TcpListener::bind((address, port)) {
            Ok(_) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    let source = last.expect("each try that did not return has failed");
    Err(Error::System {
        doing: format!("listen on port {port} of a loopback address"),
        source,
    })
}

/// Never 127.0.x.x, where others are.
fn any() -> Ipv4Addr {
    let random = RandomState::new().hash_one(0);
    let [a, b, c, ..] = random.to_le_bytes();
    Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254))
}
