//! How many ids a user namespace has.

use crate::error::{Error, Result};

/// The user ids that containers can have here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Those of the machine: no user namespace is in the way.
    All,
    /// 0 and so many above it.
    Range(u64),
    /// 0 alone.
    Single,
}

impl Ids {
    /// Of this process's user namespace.
    pub fn here() -> Result<Ids> {
        let map = std::fs::read_to_string("/proc/self/uid_map").map_err(Error::system("read", "/proc/self/uid_map"))?;
        Ok(Ids::of(&map))
    }

    /// Lines of three numbers: the first id inside, the same one outside, and how many (user_namespaces(7)).
    pub(super) fn of(map: &str) -> Ids {
        let count = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
        match map.lines().filter_map(count).sum::<u64>() {
            count if count >= u32::MAX.into() => Ids::All,
            count if count > 1 => Ids::Range(count - 1),
            _ => Ids::Single,
        }
    }

    /// Whether a container's process can be this user.
    pub fn have(self, id: u32) -> bool {
        match self {
            Ids::All => true,
            Ids::Range(above) => u64::from(id) <= above,
            Ids::Single => id == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_counted_over_all_lines() {
        for (reason, map, expected) in [
            ("the machine's own", "         0          0 4294967295\n", Ids::All),
            ("the user's id alone", "0 1000 1\n", Ids::Single),
            (
                "two ranges of newuidmap",
                "0 1000 1\n1 100000 65536\n65537 300000 10\n",
                Ids::Range(65546),
            ),
        ] {
            assert_eq!(Ids::of(map), expected, "{reason}");
        }
        assert!(Ids::Range(65536).have(65536) && !Ids::Range(65536).have(65537));
    }
}
