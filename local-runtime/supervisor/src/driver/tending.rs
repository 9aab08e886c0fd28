//! What somebody takes away by hand is put back: the bridge, the rules, the links of replicas; and a container that has lost
//! its cgroup, and with it its limits, is ended, so that another one takes its place.

use std::time::Duration;

use super::Platform;
use super::carry_out::pods;
use crate::error::chain;

/// So long something may be missing.
pub const EVERY: Duration = Duration::from_secs(5);

impl Platform {
    pub(super) async fn tend(&mut self) {
        for key in self.containers.without_cgroup() {
            tracing::warn!(
                pod = key.pod,
                container = key.name,
                "a container has lost its cgroup, and is ended"
            );
            self.containers.signal(&key, "SIGKILL");
        }
        let Some(network) = &self.state.network else { return };
        let pods = pods(&self.state).map(|(pod, _, address)| (pod, address));
        match self.network.mend(network.subnet, network.spec.egress, pods) {
            Ok(mended) if mended == Default::default() => {}
            Ok(mended) => {
                tracing::warn!(?mended, "of the network something was missing");
                if mended.bridge {
                    self.keeper.set_again().await;
                }
            }
            Err(error) => tracing::error!(error = chain(&error), "the network cannot be mended"),
        }
    }
}
