//! The platform behind the provider contract.

use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, Calls, OpenOperation, Promote, Provider, RunJob, WriteRequest};

use crate::cloud::FakeCloud;
use crate::kinds::{JOB, SERVICE};
use crate::render::{FakeShape, object};

/// The provider for one account.
pub fn provider(cloud: FakeCloud, shape: FakeShape) -> Provider {
    Provider {
        shape: Arc::new(shape),
        calls: Arc::new(cloud.clone()),
        logs: None,
        exec: None,
        stats: None,
        port_forward: None,
        run_job: Some(Arc::new(cloud.clone())),
        promote: Some(Arc::new(cloud)),
    }
}

#[async_trait]
impl Calls for FakeCloud {
    async fn realm(&self) -> Result<String, CallError> {
        Self::realm(self)
    }

    async fn preflight(&self, _scope: &Scope, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        Self::preflight(self, writes)
    }

    async fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        Self::observe(self, scope, wanted, open)
    }

    async fn create(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.write(scope, request)
    }

    async fn update(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.write(scope, request)
    }

    async fn delete(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.write(scope, request)
    }

    async fn note(&self, scope: &Scope, held: Option<&Held>) -> Result<(), CallError> {
        Self::note(self, scope, held)
    }
}

#[async_trait]
impl RunJob for FakeCloud {
    async fn run_job(&self, scope: &Scope, job: &str) -> Result<(), CallError> {
        self.run_again(&object(scope, JOB, job))
    }
}

#[async_trait]
impl Promote for FakeCloud {
    async fn promote(&self, scope: &Scope, service: &str, _full: bool) -> Result<(), CallError> {
        self.promote_object(&object(scope, SERVICE, service))
    }
}
