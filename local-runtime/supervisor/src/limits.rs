//! How many descriptors this process may have, and how they are shared out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// No app gets more connections, whatever the limit: each costs 16 KiB of buffers, all together 256 MiB.
const MOST_CONNECTIONS: u64 = 16_384;

/// Raises the soft limit to the hard one, and tells what it was: what containers begin with.
pub fn raise() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", before.current);
    }
    before
}

/// For a process with the limit that this one has.
pub fn max_connections() -> usize {
    connections_of(getrlimit(Resource::Nofile).current)
}

/// A connection takes two descriptors. Half of all are for connections; the others stay free for containers, probes,
/// execs and clients, which a flood must not starve.
fn connections_of(descriptors: Option<u64>) -> usize {
    let most = descriptors.map_or(MOST_CONNECTIONS, |all| (all / 4).min(MOST_CONNECTIONS));
    most.max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_descriptors_are_for_connections() {
        for (reason, descriptors, expected) in [
            ("a small limit", Some(1024), 256),
            ("no limit", None, 16_384),
            ("a limit beyond our memory", Some(1 << 20), 16_384),
            ("hardly any", Some(3), 1),
        ] {
            assert_eq!(connections_of(descriptors), expected, "{reason}");
        }
    }
}
