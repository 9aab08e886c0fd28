//! Signal names as in signal(7).

use std::str::FromStr;

use nix::sys::signal::Signal;

/// The number of `SIGTERM`, `TERM` or `15`; `None` if there is no such signal.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return Signal::try_from(number).ok().map(|s| s as i32);
    }
    let full = if name.starts_with("SIG") {
        name.to_string()
    } else {
        format!("SIG{name}")
    };
    Signal::from_str(&full).ok().map(|s| s as i32)
}
