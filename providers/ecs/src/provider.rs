//! The calls, of which there is none yet: each says so, with one code, before anything is touched.

use async_trait::async_trait;
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, Calls, OpenOperation, WriteRequest};

use crate::error::not_built_in;

/// Asks nobody, not even whose account it is: whoever wants more than a rendering hears so first of all.
pub struct EcsCalls;

#[async_trait]
impl Calls for EcsCalls {
    async fn realm(&self) -> Result<String, CallError> {
        Err(not_built_in())
    }

    async fn preflight(&self, _scope: &Scope, _writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        Err(not_built_in())
    }

    async fn observe(
        &self,
        _scope: &Scope,
        _wanted: &[ResourceId],
        _open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        Err(not_built_in())
    }

    async fn create(&self, _scope: &Scope, _request: &WriteRequest) -> Result<Accepted, CallError> {
        Err(not_built_in())
    }

    async fn update(&self, _scope: &Scope, _request: &WriteRequest) -> Result<Accepted, CallError> {
        Err(not_built_in())
    }

    async fn delete(&self, _scope: &Scope, _request: &WriteRequest) -> Result<Accepted, CallError> {
        Err(not_built_in())
    }

    async fn note(&self, _scope: &Scope, _held: Option<&Held>) -> Result<(), CallError> {
        Err(not_built_in())
    }
}
