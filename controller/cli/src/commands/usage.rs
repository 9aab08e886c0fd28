//! What containers use beside their limits, in words: of one in `stats`, of a workload in `status`.

use std::collections::BTreeMap;

use portolan_core::manifest::{ByteQuantity, CpuQuantity};
use portolan_provider_api::operations::Usage;
use serde::Serialize;

/// All containers of a service or job together.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadUsage {
    pub memory: Option<String>,
    /// There if each container has one.
    pub memory_limit: Option<String>,
    pub pids: Option<u64>,
    /// What limits did to a container that lives on, with its name; of processor time since it began.
    pub notes: Vec<String>,
}

pub fn by_workload(usages: &[Usage]) -> BTreeMap<String, WorkloadUsage> {
    let mut of: BTreeMap<String, Vec<&Usage>> = BTreeMap::new();
    for usage in usages {
        of.entry(usage.workload.clone()).or_default().push(usage);
    }
    of.into_iter().map(|(name, usages)| (name, together(&usages))).collect()
}

fn together(usages: &[&Usage]) -> WorkloadUsage {
    let bytes = |part: fn(&Usage) -> Option<ByteQuantity>| -> Option<String> {
        let all: Option<u64> = usages.iter().map(|usage| part(usage).map(ByteQuantity::bytes)).sum();
        all.map(|bytes| rounded(ByteQuantity::from_bytes(bytes)))
    };
    let noted = |usage: &&Usage| {
        let place = format!("{}-{}", usage.workload, usage.replica);
        let notes = notes(&Usage::default(), usage).into_iter();
        notes.map(move |note| format!("{place}: {note}")).collect::<Vec<_>>()
    };
    WorkloadUsage {
        memory: bytes(|usage| usage.memory),
        memory_limit: bytes(|usage| usage.memory_limit),
        pids: usages.iter().map(|usage| usage.pids).sum(),
        notes: usages.iter().flat_map(noted).collect(),
    }
}

impl WorkloadUsage {
    /// `uses 96Mi/512Mi of memory, 6 processes`.
    pub fn words(&self) -> String {
        let memory = of_limit(&self.memory, &self.memory_limit);
        let pids = self.pids.map(|pids| match pids {
            1 => ", 1 process".to_string(),
            more => format!(", {more} processes"),
        });
        format!("uses {memory} of memory{}", pids.unwrap_or_default())
    }
}

/// `48Mi/256Mi`; a dash for what the platform does not tell.
pub fn of_limit(used: &Option<String>, limit: &Option<String>) -> String {
    match (used, limit) {
        (Some(used), Some(limit)) => format!("{used}/{limit}"),
        (Some(used), None) => used.clone(),
        (None, _) => "-".to_string(),
    }
}

/// In whole mebibytes, upwards; kibibytes below one.
pub fn rounded(bytes: ByteQuantity) -> String {
    match bytes.bytes() {
        bytes if bytes < 1 << 20 => format!("{}Ki", bytes.div_ceil(1 << 10)),
        bytes => format!("{}Mi", bytes.div_ceil(1 << 20)),
    }
}

/// What its limits did to a container since `before`, in one clause each.
pub fn notes(before: &Usage, now: &Usage) -> Vec<String> {
    [throttling(before, now), kills(now), refusals(now)]
        .into_iter()
        .flatten()
        .collect()
}

fn throttling(before: &Usage, now: &Usage) -> Option<String> {
    let since = |now: Option<u64>, before: Option<u64>| now.map(|now| now.saturating_sub(before.unwrap_or(0)));
    let periods = since(now.periods, before.periods).filter(|periods| *periods > 0)?;
    let throttled = since(now.throttled_periods, before.throttled_periods).filter(|throttled| *throttled > 0)?;
    let limit = now.cpu_limit.map(|limit: CpuQuantity| format!(" (limit {limit})"));
    let (share, limit) = (throttled * 100 / periods, limit.unwrap_or_default());
    Some(format!("CpuThrottled: {share} % of the time{limit}"))
}

fn kills(now: &Usage) -> Option<String> {
    let kills = now.oom_kills.filter(|kills| *kills > 0)?;
    let limit = now
        .memory_limit
        .map_or("its limit".to_string(), |limit| limit.to_string());
    let processes = if kills == 1 { "a process" } else { "processes" };
    Some(format!("OomKilled: {processes} of it, for more than {limit}"))
}

fn refusals(now: &Usage) -> Option<String> {
    now.pids_refused.filter(|refused| *refused > 0)?;
    let limit = now
        .pids_limit
        .map_or(String::new(), |limit| format!(": {limit} processes"));
    Some(format!("PidsLimitReached{limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_limits_did_is_noted() {
        let mut now = Usage {
            memory_limit: Some(ByteQuantity::from_bytes(256 << 20)),
            ..Usage::default()
        };
        (now.oom_kills, now.pids_refused, now.pids_limit) = (Some(1), Some(7), Some(64));
        assert_eq!(
            notes(&Usage::default(), &now),
            [
                "OomKilled: a process of it, for more than 256Mi",
                "PidsLimitReached: 64 processes"
            ]
        );
    }

    #[test]
    fn replicas_are_counted_together() {
        let one = |replica: &str, limit: Option<u64>| Usage {
            workload: "web".into(),
            replica: replica.into(),
            container: "web".into(),
            memory: Some(ByteQuantity::from_bytes(48 << 20)),
            memory_limit: limit.map(ByteQuantity::from_bytes),
            pids: Some(3),
            ..Usage::default()
        };
        let words = |usages: &[Usage]| by_workload(usages)["web"].words();
        let limit = Some(256 << 20);
        assert_eq!(
            words(&[one("1", limit), one("2", limit)]),
            "uses 96Mi/512Mi of memory, 6 processes"
        );
        assert_eq!(
            words(&[one("1", limit), one("2", None)]),
            "uses 96Mi of memory, 6 processes",
            "no limit of all where one has none"
        );
    }
}
