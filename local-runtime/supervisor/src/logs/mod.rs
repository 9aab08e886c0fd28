//! What containers write: from their fifos into files with a bound, and from there to whoever asks.
//!
//! A container's stdout and stderr are two fifos. It holds them open for reading and writing, so a supervisor that is
//! gone neither breaks its output nor loses it: up to 64 KiB a fifo wait in the kernel, and the next supervisor reads on
//! ([`file`] says how that loses and doubles nothing).
//! A file has one line per line: `<unix milliseconds> <o|e> <text>`. A full or old one becomes `.log.1`, the one before it
//! `.log.2`, and the last one goes ([`crate::spec::LogSpec`] says when and how many).

mod collect;
mod fifo;
mod file;
mod old;
mod read;
mod rules;
mod source;
mod written;

use std::path::{Path, PathBuf};

use crate::protocol::Stream;

pub use collect::Collector;
pub use old::{Writer, prune};
pub use read::{LogReader, last_lines};
pub use rules::{Rule, Rules};
pub use written::Written;

/// Longer lines are cut into several.
pub const MAX_LINE_BYTES: usize = 32 << 10;

/// The file that is written is number 0, and the higher, the older.
fn numbered(log: &Path, number: u32) -> PathBuf {
    match number {
        0 => log.into(),
        _ => log.with_extension(format!("log.{number}")),
    }
}

/// `7.main.log`, `7.main.log.2` -> (7, main). No name of a container has a point in it.
fn parse_file_name(name: &str) -> Option<(u64, &str)> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        [pod, container, "log"] => Some((pod.parse().ok()?, container)),
        [pod, container, "log", number] => number.parse::<u32>().ok().and(Some((pod.parse().ok()?, container))),
        _ => None,
    }
}

/// A line as it is in a file.
struct Line {
    time_unix_ms: u64,
    stream: Stream,
    text: String,
}

fn parse_line(line: &[u8]) -> Option<Line> {
    let mut parts = line.splitn(3, |b| *b == b' ');
    let time_unix_ms = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let stream = match parts.next()? {
        b"o" => Stream::Stdout,
        b"e" => Stream::Stderr,
        _ => return None,
    };
    let text = String::from_utf8_lossy(parts.next()?).into_owned();
    Some(Line {
        time_unix_ms,
        stream,
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_names_are_read_back() {
        assert_eq!(parse_file_name("12.main.log"), Some((12, "main")));
        assert_eq!(parse_file_name("12.main.log.1"), Some((12, "main")));
        assert_eq!(parse_file_name("12.main.log.17"), Some((12, "main")));
        for other in ["state.json", "12.main.log.old", "main.log"] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
        let line = parse_line(b"1700000000000 e two  words").unwrap();
        assert_eq!((line.stream, line.text.as_str()), (Stream::Stderr, "two  words"));
        assert!(parse_line(b"torn").is_none());
        assert_eq!(parse_line(b"1 o \xff").unwrap().text, "\u{fffd}");
    }
}
