//! The accounts behind the targets: each a platform of its own, with its own limits, that may be out of reach for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portolan_provider_fake::FakeCloud;

use super::scenario::Scenario;
use super::secrets;
use super::world::MARGIN_MS;

pub struct Account {
    pub cloud: FakeCloud,
    /// No call reaches it before then.
    pub away_until: u64,
}

impl Account {
    /// One of the scenario's platform, whose reads lag as the scenario says.
    pub fn of(scenario: &Scenario, clock: &Arc<AtomicU64>) -> Self {
        let read = clock.clone();
        let cloud = FakeCloud::of(scenario.platform, Arc::new(move || read.load(Ordering::Relaxed)));
        cloud.stop_recording();
        if secrets::are_watched(scenario.seed) {
            cloud.keep_secret(secrets::SECRET_NAME, secrets::SECRET);
        }
        let lag = scenario.lag;
        let chance = (lag.longest() > 0).then_some(scenario.seed);
        cloud.set_lags(lag.list, lag.description, chance);
        cloud.remember(lag.longest() + MARGIN_MS);
        Self { cloud, away_until: 0 }
    }
}
