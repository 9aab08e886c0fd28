//! What a cgroup uses: one structure for both versions. A figure that this machine does not give is None.

use super::dir::Dir;

/// Usage and events since the cgroup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    pub memory: MemoryStats,
    pub cpu: CpuStats,
    pub pids: PidsStats,
}

/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryStats {
    pub current: Option<u64>,
    pub peak: Option<u64>,
    /// None also where there is no limit.
    pub limit: Option<u64>,
    /// Page cache that can be dropped at once: `current` without it is the working set.
    pub inactive_file: Option<u64>,
    /// Processes killed because the limit was reached.
    pub oom_kills: Option<u64>,
}

/// In microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuStats {
    pub usage_us: Option<u64>,
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
    pub throttled_us: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PidsStats {
    pub current: Option<u64>,
    /// None also where there is no limit.
    pub limit: Option<u64>,
    /// Forks refused because the limit was reached.
    pub refused: Option<u64>,
}

pub(super) fn memory_v1(dir: &Dir) -> MemoryStats {
    // Without a limit the file holds the highest multiple of a page.
    const NO_LIMIT: u64 = i64::MAX as u64 & !0xffff;
    MemoryStats {
        current: number(dir, "memory.usage_in_bytes"),
        peak: number(dir, "memory.max_usage_in_bytes"),
        limit: number(dir, "memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT),
        inactive_file: entry(dir, "memory.stat", "total_inactive_file"),
        oom_kills: entry(dir, "memory.oom_control", "oom_kill"),
    }
}

pub(super) fn memory_v2(dir: &Dir) -> MemoryStats {
    MemoryStats {
        current: number(dir, "memory.current"),
        peak: number(dir, "memory.peak"),
        limit: number(dir, "memory.max"),
        inactive_file: entry(dir, "memory.stat", "inactive_file"),
        oom_kills: entry(dir, "memory.events", "oom_kill"),
    }
}

/// `cpu.stat` of version 1 knows the throttling alone; usage is in another controller.
pub(super) fn cpu_v1(dir: &Dir) -> CpuStats {
    let nanoseconds = entry(dir, "cpu.stat", "throttled_time");
    CpuStats {
        throttled_us: nanoseconds.map(|time| time / 1000),
        usage_us: None,
        ..periods(dir)
    }
}

pub(super) fn cpu_usage_v1(dir: &Dir) -> Option<u64> {
    number(dir, "cpuacct.usage").map(|nanoseconds| nanoseconds / 1000)
}

pub(super) fn cpu_v2(dir: &Dir) -> CpuStats {
    let usage_us = entry(dir, "cpu.stat", "usage_usec");
    CpuStats {
        usage_us,
        throttled_us: entry(dir, "cpu.stat", "throttled_usec"),
        ..periods(dir)
    }
}

fn periods(dir: &Dir) -> CpuStats {
    let (periods, throttled) = (
        entry(dir, "cpu.stat", "nr_periods"),
        entry(dir, "cpu.stat", "nr_throttled"),
    );
    CpuStats {
        periods,
        throttled_periods: throttled,
        ..CpuStats::default()
    }
}

pub(super) fn pids(dir: &Dir) -> PidsStats {
    PidsStats {
        current: number(dir, "pids.current"),
        limit: number(dir, "pids.max"),
        refused: entry(dir, "pids.events", "max"),
    }
}

fn number(dir: &Dir, file: &str) -> Option<u64> {
    dir.read(file).ok()?.trim().parse().ok()
}

/// The value of a line `name value`.
fn entry(dir: &Dir, file: &str, name: &str) -> Option<u64> {
    let text = dir.read(file).ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}
