//! What limits are called in the hierarchies of version 1 (cgroup-v1/ in the kernel's documentation).

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxNetwork, LinuxThrottleDevice, LinuxWeightDevice,
};

use super::error::Error;
use super::limits::{Bytes, MemoryLimits, cpu_idle, cpu_period, cpu_quota, cpu_shares, io_weight, within};
use super::setting::Setting;

/// Limits on memory. `kernel` is left alone, as OCI recommends: Linux enforces it no more, and counts the kernel's
/// memory in `limit`.
pub(super) fn memory(memory: &LinuxMemory) -> Result<Vec<Setting>, Error> {
    let limits = MemoryLimits::read(memory)?;
    let setting = |field: &str, file, value: &dyn ToString| Setting::new("memory", field, file, value.to_string());
    let mut settings = Vec::new();
    settings.extend(
        limits
            .limit
            .map(|limit| setting("memory.limit", "memory.limit_in_bytes", &bytes(limit))),
    );
    settings.extend(
        limits
            .swap
            .map(|swap| setting("memory.swap", "memory.memsw.limit_in_bytes", &bytes(swap))),
    );
    let soft = |limit| setting("memory.reservation", "memory.soft_limit_in_bytes", &bytes(limit));
    settings.extend(limits.reservation.map(soft));
    if let Some(limit) = Bytes::read("memory.kernelTCP", memory.kernel_tcp())? {
        settings.push(setting(
            "memory.kernelTCP",
            "memory.kmem.tcp.limit_in_bytes",
            &bytes(limit),
        ));
    }
    if let Some(swappiness) = memory.swappiness() {
        let swappiness = within(
            "memory.swappiness",
            swappiness,
            0..=100,
            "swappiness ranges from 0 to 100",
        )?;
        settings.push(setting("memory.swappiness", "memory.swappiness", &swappiness));
    }
    if memory.disable_oom_killer() == Some(true) {
        settings.push(setting("memory.disableOOMKiller", "memory.oom_control", &1));
    }
    Ok(settings)
}

/// Shares and bandwidth.
pub(super) fn cpu(cpu: &LinuxCpu) -> Result<Vec<Setting>, Error> {
    let setting = |field: &str, file, value: &dyn ToString| Setting::new("cpu", field, file, value.to_string());
    let mut settings = Vec::new();
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        settings.push(setting("cpu.shares", "cpu.shares", &cpu_shares(shares)?));
    }
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        settings.push(setting("cpu.period", "cpu.cfs_period_us", &cpu_period(period)?));
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        settings.push(setting(
            "cpu.quota",
            "cpu.cfs_quota_us",
            &cpu_quota(quota)?.unwrap_or(-1),
        ));
    }
    settings.extend(
        cpu.burst()
            .map(|burst| setting("cpu.burst", "cpu.cfs_burst_us", &burst)),
    );
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        settings.push(setting("cpu.realtimePeriod", "cpu.rt_period_us", &period));
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        settings.push(setting("cpu.realtimeRuntime", "cpu.rt_runtime_us", &runtime));
    }
    if let Some(idle) = cpu.idle() {
        settings.push(setting("cpu.idle", "cpu.idle", &cpu_idle(idle)?));
    }
    Ok(settings)
}

pub(super) fn huge_pages(page: &LinuxHugepageLimit) -> Setting {
    let file = format!("hugetlb.{}.limit_in_bytes", page.page_size());
    Setting::new("hugetlb", "hugepageLimits", file, page.limit())
}

/// Weights and throttles of block devices. Leaf weights went with the scheduler that knew them.
pub(super) fn block_io(block_io: &LinuxBlockIo) -> Result<Vec<Setting>, Error> {
    let mut settings = Vec::new();
    if let Some(weight) = block_io.weight().filter(|weight| *weight != 0) {
        let weight = io_weight("blockIO.weight", weight)?;
        let setting = Setting::new("blkio", "blockIO.weight", "blkio.bfq.weight", weight);
        settings.push(setting.or("blkio.weight", weight));
    }
    for device in block_io.weight_device().iter().flatten() {
        settings.extend(device_weight(device)?);
    }
    let throttles = [
        (
            "read_bps",
            "blockIO.throttleReadBpsDevice",
            block_io.throttle_read_bps_device(),
        ),
        (
            "write_bps",
            "blockIO.throttleWriteBpsDevice",
            block_io.throttle_write_bps_device(),
        ),
        (
            "read_iops",
            "blockIO.throttleReadIOPSDevice",
            block_io.throttle_read_iops_device(),
        ),
        (
            "write_iops",
            "blockIO.throttleWriteIOPSDevice",
            block_io.throttle_write_iops_device(),
        ),
    ];
    for (name, field, devices) in throttles {
        let file = format!("blkio.throttle.{name}_device");
        settings.extend(
            devices
                .iter()
                .flatten()
                .map(|device| Setting::new("blkio", field, &file, rate(device))),
        );
    }
    Ok(settings)
}

fn device_weight(device: &LinuxWeightDevice) -> Result<Option<Setting>, Error> {
    let Some(weight) = device.weight() else { return Ok(None) };
    let weight = io_weight("blockIO.weightDevice", weight)?;
    let value = format!("{}:{} {weight}", device.major(), device.minor());
    let setting = Setting::new("blkio", "blockIO.weightDevice", "blkio.bfq.weight_device", &value);
    Ok(Some(setting.or("blkio.weight_device", value)))
}

fn rate(device: &LinuxThrottleDevice) -> String {
    format!("{}:{} {}", device.major(), device.minor(), device.rate())
}

/// Marks for packets: version 1 only, since version 2 leaves them to BPF.
pub(super) fn network(network: &LinuxNetwork) -> Vec<Setting> {
    let class = network
        .class_id()
        .map(|id| Setting::new("net_cls", "network.classID", "net_cls.classid", id));
    let priorities = network.priorities().iter().flatten().map(|interface| {
        let value = format!("{} {}", interface.name(), interface.priority());
        Setting::new("net_prio", "network.priorities", "net_prio.ifpriomap", value)
    });
    class.into_iter().chain(priorities).collect()
}

fn bytes(limit: Bytes) -> i64 {
    match limit {
        Bytes::Unlimited => -1,
        Bytes::At(bytes) => bytes,
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder};

    use super::*;

    fn written(settings: Result<Vec<Setting>, Error>) -> Result<Vec<String>, String> {
        let text = |setting: &Setting| format!("{}={}", setting.file, setting.value);
        settings
            .map(|settings| settings.iter().map(text).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn memory_limits_become_files() {
        let memory = |limit: i64, swap: i64| LinuxMemoryBuilder::default().limit(limit).swap(swap).build().unwrap();
        let cases: [(_, Result<&[&str], &str>, _); 6] = [
            (
                memory(9, 10),
                Ok(&["memory.limit_in_bytes=9", "memory.memsw.limit_in_bytes=10"]),
                "both",
            ),
            (memory(0, 0), Ok(&[]), "zero is not set"),
            (
                memory(-1, 0),
                Ok(&["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]),
                "no limit on memory is none on swap",
            ),
            (
                memory(9, -1),
                Ok(&["memory.limit_in_bytes=9", "memory.memsw.limit_in_bytes=-1"]),
                "swap without limit",
            ),
            (
                memory(9, 8),
                Err(
                    "`memory.swap` is 8, and it counts memory and swap together, so that it cannot be below memory.limit",
                ),
                "less with swap than without",
            ),
            (
                memory(-2, 0),
                Err("`memory.limit` is -2, and only -1, for no limit, may be negative"),
                "negative",
            ),
        ];
        for (memory, expected, reason) in cases {
            let expected = expected
                .map(|files| files.iter().map(|file| file.to_string()).collect())
                .map_err(str::to_owned);
            assert_eq!(written(super::memory(&memory)), expected, "{reason}");
        }
    }

    #[test]
    fn cpu_limits_are_checked() {
        let builder = LinuxCpuBuilder::default;
        let cases: [(_, Result<&str, &str>, _); 5] = [
            (builder().quota(50_000), Ok("cpu.cfs_quota_us=50000"), "a quota"),
            (builder().quota(-1), Ok("cpu.cfs_quota_us=-1"), "no quota"),
            (
                builder().quota(999),
                Err("`cpu.quota` is 999, and a quota is -1 or at least 1000 microseconds"),
                "too small",
            ),
            (
                builder().period(999_u64),
                Err("`cpu.period` is 999, and a period lasts 1000 to 1000000 microseconds"),
                "too short",
            ),
            (
                builder().shares(1_u64),
                Err("`cpu.shares` is 1, and shares range from 2 to 262144"),
                "too few",
            ),
        ];
        for (cpu, expected, reason) in cases {
            let expected = expected.map(|file| vec![file.to_owned()]).map_err(str::to_owned);
            assert_eq!(written(super::cpu(&cpu.build().unwrap())), expected, "{reason}");
        }
    }
}
