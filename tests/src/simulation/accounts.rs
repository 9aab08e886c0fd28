//! The accounts behind the targets: each a platform of its own, with its own limits, that may be out of reach for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portolan_provider_fake::FakeCloud;

use super::cloud::Cloud;
use super::local::{self, ThisMachine};
use super::scenario::Scenario;
use super::secrets;
use super::world::MARGIN_MS;

pub struct Account {
    pub cloud: Box<dyn Cloud>,
    /// No call reaches it before then.
    pub away_until: u64,
    /// When the last call arrives, of those that are on their way.
    last_arrival: u64,
}

impl Account {
    pub fn of(scenario: &Scenario, clock: &Arc<AtomicU64>) -> Self {
        let cloud: Box<dyn Cloud> = match local::is_this(scenario.platform) {
            true => Box::new(ThisMachine::new(scenario.seed, clock.load(Ordering::Relaxed))),
            false => Box::new(fake(scenario, clock)),
        };
        Self {
            cloud,
            away_until: 0,
            last_arrival: 0,
        }
    }

    /// When a call arrives that would take until then.
    pub fn arrival(&mut self, at: u64) -> u64 {
        if !self.cloud.keeps_order() {
            return at;
        }
        self.last_arrival = self.last_arrival.max(at);
        self.last_arrival
    }
}

/// One of the scenario's platform, whose reads lag as the scenario says.
fn fake(scenario: &Scenario, clock: &Arc<AtomicU64>) -> FakeCloud {
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
    cloud
}
