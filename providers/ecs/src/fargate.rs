//! The sizes that Fargate has: for each number of units of processor time, the amounts of memory that go with it.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size>

/// Units of processor time and MiB of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub cpu: u64,
    pub memory: u64,
}

/// From least to most MiB, by steps.
struct Row {
    cpu: u64,
    memory: &'static [(u64, u64, u64)],
}

const fn row(cpu: u64, memory: &'static [(u64, u64, u64)]) -> Row {
    Row { cpu, memory }
}

const GIB: u64 = 1024;

const TABLE: &[Row] = &[
    row(256, &[(512, 512, 1), (GIB, 2 * GIB, GIB)]),
    row(512, &[(GIB, 4 * GIB, GIB)]),
    row(1024, &[(2 * GIB, 8 * GIB, GIB)]),
    row(2048, &[(4 * GIB, 16 * GIB, GIB)]),
    row(4096, &[(8 * GIB, 30 * GIB, GIB)]),
    row(8192, &[(16 * GIB, 60 * GIB, 4 * GIB)]),
    row(16384, &[(32 * GIB, 120 * GIB, 8 * GIB)]),
    row(32768, &[(60 * GIB, 120 * GIB, 60 * GIB), (244 * GIB, 244 * GIB, 1)]),
];

/// The smallest size that holds as much; `None` where there is none so large.
pub fn size_for(cpu: u64, memory: u64) -> Option<Size> {
    let rows = TABLE.iter().filter(|row| row.cpu >= cpu);
    let mut sizes = rows.filter_map(|row| {
        let memory = amounts(row).find(|amount| *amount >= memory)?;
        Some(Size { cpu: row.cpu, memory })
    });
    sizes.next()
}

/// Whether there is such a size.
pub fn is_size(size: Size) -> bool {
    let row = TABLE.iter().find(|row| row.cpu == size.cpu);
    row.is_some_and(|row| amounts(row).any(|amount| amount == size.memory))
}

fn amounts(row: &Row) -> impl Iterator<Item = u64> {
    let ranges = row.memory.iter();
    ranges.flat_map(|(from, to, step)| (*from..=*to).step_by(*step as usize))
}

/// Of all its containers together.
pub const LARGEST: Size = Size {
    cpu: 32768,
    memory: 244 * GIB,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_size_holds_what_is_asked_for() {
        for (reason, cpu, memory, expected) in [
            ("nothing is asked for", 0, 0, Some((256, 512))),
            ("it is a size", 512, 1024, Some((512, 1024))),
            ("memory between two", 256, 513, Some((256, 1024))),
            ("too much memory for so little time", 256, 2049, Some((512, 3072))),
            ("time between two", 300, 100, Some((512, 1024))),
            ("steps of four", 8192, 17 * 1024, Some((8192, 20 * 1024))),
            (
                "the step within the largest",
                32768,
                121 * 1024,
                Some((32768, 244 * 1024)),
            ),
            ("much memory leads on", 4096, 31 * 1024, Some((8192, 32 * 1024))),
            ("more time than there is", 32769, 0, None),
            ("more memory than there is", 0, 244 * 1024 + 1, None),
        ] {
            let expected = expected.map(|(cpu, memory)| Size { cpu, memory });
            assert_eq!(size_for(cpu, memory), expected, "{reason}");
            assert!(expected.is_none_or(is_size), "{reason}: it is a size");
        }
        assert!(!is_size(Size { cpu: 256, memory: 4096 }), "no size");
        assert!(is_size(LARGEST), "the largest is one");
    }
}
