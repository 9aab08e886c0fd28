//! The ranges of limits, the same for both versions. A value outside is refused with the name of its field.

use std::fmt::Display;
use std::ops::RangeInclusive;

use oci_spec::runtime::LinuxMemory;

use super::error::Error;

/// A number of bytes, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    Unlimited,
    At(i64),
}

impl Bytes {
    /// Reads OCI's way of writing it: -1 is no limit, 0 is not set.
    pub(super) fn read(field: &'static str, value: Option<i64>) -> Result<Option<Bytes>, Error> {
        match value {
            None | Some(0) => Ok(None),
            Some(-1) => Ok(Some(Bytes::Unlimited)),
            Some(value) if value < 0 => Err(invalid(field, value, "only -1, for no limit, may be negative")),
            Some(value) => Ok(Some(Bytes::At(value))),
        }
    }
}

/// The three limits on memory, each checked against the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryLimits {
    pub limit: Option<Bytes>,
    pub reservation: Option<Bytes>,
    /// Memory and swap together.
    pub swap: Option<Bytes>,
}

impl MemoryLimits {
    pub(super) fn read(memory: &LinuxMemory) -> Result<MemoryLimits, Error> {
        let limit = Bytes::read("memory.limit", memory.limit())?;
        let reservation = Bytes::read("memory.reservation", memory.reservation())?;
        let swap = Bytes::read("memory.swap", memory.swap())?;
        match (limit, swap) {
            (Some(Bytes::At(limit)), Some(Bytes::At(swap))) if swap < limit => Err(invalid(
                "memory.swap",
                swap,
                "it counts memory and swap together, so that it cannot be below memory.limit",
            )),
            (None | Some(Bytes::Unlimited), Some(Bytes::At(swap))) => Err(invalid(
                "memory.swap",
                swap,
                "it means something only with a memory.limit",
            )),
            // What has no limit in memory has none in swap.
            (Some(Bytes::Unlimited), None) => Ok(MemoryLimits {
                limit,
                reservation,
                swap: limit,
            }),
            _ => Ok(MemoryLimits {
                limit,
                reservation,
                swap,
            }),
        }
    }
}

/// `value` if it lies in `range`.
pub(super) fn within<T: PartialOrd + Display>(
    field: &'static str,
    value: T,
    range: RangeInclusive<T>,
    reason: &'static str,
) -> Result<T, Error> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(invalid(field, value, reason))
    }
}

/// The length of a scheduling period in microseconds.
pub(super) fn cpu_period(period: u64) -> Result<u64, Error> {
    within(
        "cpu.period",
        period,
        1_000..=1_000_000,
        "a period lasts 1000 to 1000000 microseconds",
    )
}

/// The share of each period in microseconds; None for no limit. 0 is not set, as other runtimes have it.
pub(super) fn cpu_quota(quota: i64) -> Result<Option<i64>, Error> {
    match quota {
        ..=-1 => Ok(None),
        _ => Ok(Some(within(
            "cpu.quota",
            quota,
            1_000..=i64::MAX,
            "a quota is -1 or at least 1000 microseconds",
        )?)),
    }
}

pub(super) fn cpu_shares(shares: u64) -> Result<u64, Error> {
    within("cpu.shares", shares, 2..=262_144, "shares range from 2 to 262144")
}

pub(super) fn cpu_idle(idle: i64) -> Result<i64, Error> {
    within("cpu.idle", idle, 0..=1, "idle is 0 or 1")
}

pub(super) fn io_weight(field: &'static str, weight: u16) -> Result<u16, Error> {
    within(field, weight, 10..=1000, "weights range from 10 to 1000")
}

pub(super) fn invalid(field: &'static str, value: impl ToString, reason: &'static str) -> Error {
    Error::Invalid {
        field,
        value: value.to_string(),
        reason,
    }
}
