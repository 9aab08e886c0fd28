//! What containers use: the supervisor's words as the contract's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::manifest::{ByteQuantity, CpuQuantity};
use portolan_core::plan::Scope;
use portolan_provider_api::operations::Usage;
use portolan_provider_api::{CallError, Stats};
use portolan_supervisor::protocol;

use crate::client::Supervisors;
use crate::error;

pub struct LocalStats {
    platform: Arc<Supervisors>,
}

impl LocalStats {
    pub fn new(platform: Arc<Supervisors>) -> Self {
        Self { platform }
    }
}

#[async_trait]
impl Stats for LocalStats {
    async fn stats(&self, scope: &Scope) -> Result<Vec<Usage>, CallError> {
        let mut client = self.platform.connect(scope).await?;
        let told = client.stats().await.map_err(error::client)?;
        Ok(told.into_iter().map(usage).collect())
    }
}

fn usage(told: protocol::Usage) -> Usage {
    Usage {
        workload: told.workload,
        replica: told.replica.to_string(),
        container: told.container,
        restarts: told.restarts,
        up: Duration::from_millis(told.up_ms),
        cpu: told.cpu_us.map(Duration::from_micros),
        cpu_limit: told.cpu_limit_millis.map(CpuQuantity::from_millicores),
        periods: told.periods,
        throttled_periods: told.throttled_periods,
        memory: told.memory_bytes.map(ByteQuantity::from_bytes),
        memory_limit: told.memory_limit_bytes.map(ByteQuantity::from_bytes),
        oom_kills: told.oom_kills,
        pids: told.pids,
        pids_limit: told.pids_limit,
        pids_refused: told.pids_refused,
    }
}
