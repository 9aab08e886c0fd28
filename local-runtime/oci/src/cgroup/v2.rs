//! What limits are called in the unified hierarchy (cgroup-v2.rst in the kernel's documentation), and how its
//! controllers are handed down.

use std::io;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory};

use super::dir::Dir;
use super::error::Error;
use super::limits::{Bytes, MemoryLimits, cpu_idle, cpu_period, cpu_quota, cpu_shares, invalid, io_weight};
use super::setting::Setting;

/// Limits on memory. OCI's swap counts memory too, the kernel's does not.
pub(super) fn memory(memory: &LinuxMemory) -> Result<Vec<Setting>, Error> {
    let limits = MemoryLimits::read(memory)?;
    let unknown = "version 2 has nothing like it";
    if let Some(swappiness) = memory.swappiness() {
        return Err(invalid("memory.swappiness", swappiness, unknown));
    }
    if memory.disable_oom_killer() == Some(true) {
        return Err(invalid("memory.disableOOMKiller", true, unknown));
    }
    let setting = |field: &str, file, value| Setting::new("memory", field, file, value);
    let mut settings = Vec::new();
    settings.extend(
        limits
            .limit
            .map(|limit| setting("memory.limit", "memory.max", bytes(limit))),
    );
    settings.extend(
        limits
            .reservation
            .map(|limit| setting("memory.reservation", "memory.low", bytes(limit))),
    );
    let swap_alone = match (limits.limit, limits.swap) {
        (Some(Bytes::At(limit)), Some(Bytes::At(both))) => Some(Bytes::At(both - limit)),
        (_, swap) => swap,
    };
    settings.extend(swap_alone.map(|limit| setting("memory.swap", "memory.swap.max", bytes(limit))));
    Ok(settings)
}

/// Weight and bandwidth. Period and quota share a file, in which what is not given keeps its value.
pub(super) fn cpu(cpu: &LinuxCpu) -> Result<Vec<Setting>, Error> {
    let unknown = "version 2 has no realtime limits";
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        return Err(invalid("cpu.realtimeRuntime", runtime, unknown));
    }
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        return Err(invalid("cpu.realtimePeriod", period, unknown));
    }
    let setting = |field: &str, file, value| Setting::new("cpu", field, file, value);
    let mut settings = Vec::new();
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        settings.push(setting(
            "cpu.shares",
            "cpu.weight",
            weight(cpu_shares(shares)?).to_string(),
        ));
    }
    settings.extend(bandwidth(cpu)?.map(|value| setting("cpu.quota", "cpu.max", value)));
    settings.extend(
        cpu.burst()
            .map(|burst| setting("cpu.burst", "cpu.max.burst", burst.to_string())),
    );
    if let Some(idle) = cpu.idle() {
        settings.push(setting("cpu.idle", "cpu.idle", cpu_idle(idle)?.to_string()));
    }
    Ok(settings)
}

fn bandwidth(cpu: &LinuxCpu) -> Result<Option<String>, Error> {
    let period = cpu.period().filter(|period| *period != 0).map(cpu_period).transpose()?;
    let quota = cpu.quota().filter(|quota| *quota != 0).map(cpu_quota).transpose()?;
    let quota_text = |quota: Option<i64>| quota.map_or("max".to_owned(), |quota| quota.to_string());
    Ok(match (quota, period) {
        (None, None) => None,
        (Some(quota), None) => Some(quota_text(quota)),
        (None, Some(period)) => Some(format!("max {period}")),
        (Some(quota), Some(period)) => Some(format!("{} {period}", quota_text(quota))),
    })
}

/// Shares (2 to 262144, usually 1024) as a weight (1 to 10000, usually 100): the curve through these three points on
/// which OCI's runtimes agreed, so that what one of them gives is what another gives.
fn weight(shares: u64) -> u64 {
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    (10_f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

pub(super) fn huge_pages(page: &LinuxHugepageLimit) -> Setting {
    let limit = if page.limit() < 0 {
        "max".to_owned()
    } else {
        page.limit().to_string()
    };
    Setting::new(
        "hugetlb",
        "hugepageLimits",
        format!("hugetlb.{}.max", page.page_size()),
        limit,
    )
}

/// Weights and throttles of block devices.
pub(super) fn block_io(block_io: &LinuxBlockIo) -> Result<Vec<Setting>, Error> {
    let mut settings = Vec::new();
    if let Some(weight) = block_io.weight().filter(|weight| *weight != 0) {
        let weight = io_weight("blockIO.weight", weight)?;
        let setting = Setting::new("io", "blockIO.weight", "io.bfq.weight", weight);
        settings.push(setting.or("io.weight", wide_weight(weight)));
    }
    for device in block_io.weight_device().iter().flatten() {
        let Some(weight) = device.weight() else { continue };
        let weight = io_weight("blockIO.weightDevice", weight)?;
        let line = |weight| format!("{}:{} {weight}", device.major(), device.minor());
        let setting = Setting::new("io", "blockIO.weightDevice", "io.bfq.weight", line(weight.into()));
        settings.push(setting.or("io.weight", line(wide_weight(weight))));
    }
    let throttles = [
        (
            "rbps",
            "blockIO.throttleReadBpsDevice",
            block_io.throttle_read_bps_device(),
        ),
        (
            "wbps",
            "blockIO.throttleWriteBpsDevice",
            block_io.throttle_write_bps_device(),
        ),
        (
            "riops",
            "blockIO.throttleReadIOPSDevice",
            block_io.throttle_read_iops_device(),
        ),
        (
            "wiops",
            "blockIO.throttleWriteIOPSDevice",
            block_io.throttle_write_iops_device(),
        ),
    ];
    for (name, field, devices) in throttles {
        for device in devices.iter().flatten() {
            let value = format!("{}:{} {name}={}", device.major(), device.minor(), device.rate());
            settings.push(Setting::new("io", field, "io.max", value));
        }
    }
    Ok(settings)
}

/// A weight of BFQ's range (10 to 1000) in that of `io.weight` (1 to 10000).
fn wide_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9_999 / 990
}

/// A file of the unified hierarchy that the configuration names itself.
pub(super) fn unified(file: &str, value: &str) -> Result<Setting, Error> {
    let refused = |reason| Err(invalid("unified", file, reason));
    match file.split_once('.') {
        _ if file.contains('/') => refused("a file's name has no slash"),
        Some(("cgroup", _)) => refused("files that move processes or hand down controllers are the runtime's"),
        Some((controller, rest)) if !controller.is_empty() && !rest.is_empty() => {
            let mut setting = Setting::new(controller, "", file, value);
            setting.field = format!("unified.{file}");
            Ok(setting)
        }
        _ => refused("a file's name starts with its controller"),
    }
}

/// Sees to it that the cgroup at `below` has the controllers in `wanted`: all above it hand them down.
pub(super) fn hand_down(root: &Dir, below: &str, wanted: &[&str]) -> io::Result<()> {
    // Mostly another container has seen to it.
    if wanted.is_empty() || has_all(&root.read(&format!("{below}/cgroup.controllers"))?, wanted) {
        return Ok(());
    }
    delegate(root, wanted)?;
    let parents = below.match_indices('/').map(|(end, _)| &below[..end]);
    parents
        .into_iter()
        .try_for_each(|parent| delegate(&root.open(parent)?, wanted))
}

fn has_all(list: &str, wanted: &[&str]) -> bool {
    let known: Vec<&str> = list.split_whitespace().collect();
    wanted.iter().all(|controller| known.contains(controller))
}

/// Hands the controllers in `wanted` that `parent` has down to its children.
fn delegate(parent: &Dir, wanted: &[&str]) -> io::Result<()> {
    let (available, enabled) = (
        parent.read("cgroup.controllers")?,
        parent.read("cgroup.subtree_control")?,
    );
    let has = |list: &str, controller: &str| has_all(list, &[controller]);
    let missing: Vec<String> = wanted
        .iter()
        .filter(|controller| has(&available, controller) && !has(&enabled, controller))
        .map(|controller| format!("+{controller}"))
        .collect();
    if missing.is_empty() || parent.write("cgroup.subtree_control", &missing.join(" ")).is_ok() {
        return Ok(());
    }
    // One that cannot be handed down shall not keep back the others; whoever needs it finds its file missing.
    for controller in missing {
        _ = parent.write("cgroup.subtree_control", &controller);
    }
    Ok(())
}

fn bytes(limit: Bytes) -> String {
    match limit {
        Bytes::Unlimited => "max".to_owned(),
        Bytes::At(bytes) => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder};

    use super::*;

    #[test]
    fn shares_become_the_weight_that_others_give() {
        let cases = [
            (2, 1, "the least"),
            (1024, 100, "the usual"),
            (262_144, 10_000, "the most"),
            (512, 59, "half"),
            (2048, 174, "double"),
        ];
        for (shares, expected, reason) in cases {
            assert_eq!(weight(shares), expected, "{shares}: {reason}");
        }
    }

    #[test]
    fn swap_is_told_apart_from_memory() {
        let memory = LinuxMemoryBuilder::default().limit(100).swap(250).build().unwrap();
        let files: Vec<_> = super::memory(&memory)
            .unwrap()
            .into_iter()
            .map(|one| (one.file, one.value))
            .collect();
        assert_eq!(
            files,
            [
                ("memory.max".into(), "100".into()),
                ("memory.swap.max".into(), "150".into())
            ]
        );
    }

    #[test]
    fn period_and_quota_share_a_file() {
        let cases = [
            (Some(5_000), Some(10_000), "5000 10000"),
            (Some(-1), None, "max"),
            (None, Some(10_000), "max 10000"),
        ];
        for (quota, period, expected) in cases {
            let mut cpu = LinuxCpuBuilder::default().build().unwrap();
            cpu.set_quota(quota).set_period(period);
            assert_eq!(super::cpu(&cpu).unwrap()[0].value, expected);
        }
    }

    #[test]
    fn only_limits_can_be_written_by_name() {
        let cases = [
            ("memory.high", true, "a limit"),
            ("cgroup.procs", false, "moving processes is the runtime's"),
            ("../memory.max", false, "no paths"),
            ("memory", false, "not a file of a controller"),
        ];
        for (file, allowed, reason) in cases {
            assert_eq!(unified(file, "1").is_ok(), allowed, "{file}: {reason}");
        }
    }
}
