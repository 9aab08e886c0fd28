//! The board in the text format of OpenMetrics, which Prometheus reads.

use std::collections::BTreeMap;

use portolan_engine::controller::{Board, Standing};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub fn text(board: &Board) -> String {
    let mut registry = Registry::with_prefix("portolan");
    registry.register_collector(Box::new(Snapshot::of(board)));
    let mut text = String::new();
    // A string takes whatever is written to it.
    _ = encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Snapshot {
    counters: [(&'static str, &'static str, u64); 5],
    apps: BTreeMap<Standing, i64>,
}

impl Snapshot {
    fn of(board: &Board) -> Self {
        let counts = board.counts();
        let mut apps: BTreeMap<Standing, i64> = Standing::ALL.into_iter().map(|standing| (standing, 0)).collect();
        for app in board.apps() {
            *apps.entry(app.standing).or_default() += 1;
        }
        Self {
            counters: [
                ("reconciles", "Reconciles that came to their end", counts.reconciles),
                (
                    "reconciles_with_changes",
                    "Reconciles that wrote at their target",
                    counts.changes,
                ),
                ("reconcile_errors", "Reconciles that ended with an error", counts.errors),
                ("writes", "Creates, updates and deletes that were begun", counts.writes),
                ("retries", "Calls that were tried again", counts.retries),
            ],
            apps,
        }
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, help, value) in self.counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let mut apps = encoder.encode_descriptor("apps", "Apps by how they stand", None, MetricType::Gauge)?;
        for (standing, count) in &self.apps {
            let labels = [("standing", standing.word())];
            ConstGauge::new(*count).encode(apps.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
