//! An account of which nobody asks anything: it shows nothing, and takes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use portolan_conformance::{Account, Cannot, Request, Trouble};
use portolan_core::facts::{ImageDefaults, ImageSource, PinnedImage};
use portolan_core::manifest::Target;
use portolan_core::name::hash_of;
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::Scope;
use portolan_core::reference::Digest;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{
    Accepted, CallError, Calls, ErrorClass, ImageError, Images, OpenOperation, PinRequest, Provider, WriteRequest,
};
use serde_json::{Value, json};

pub const ON_FARGATE: bool = true;
pub const ON_INSTANCES: bool = false;

const NO_PLATFORM: Cannot = "there is no platform behind it";

pub struct Nobody<const FARGATE: bool>;

impl<const FARGATE: bool> Nobody<FARGATE> {
    fn settings() -> Value {
        let balancer = |resource: &str| format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:{resource}");
        let mut ecs = json!({
            "account": "123456789012", "region": "eu-west-1", "cluster": "prod",
            "subnets": ["subnet-0123456789abcdef0"],
            "namespace": { "id": "ns-0123456789abcdef", "name": "harbour.local" },
            "vpc": "vpc-0123456789abcdef0",
            "applicationLoadBalancer": {
                "arn": balancer("loadbalancer/app/edge/0123456789abcdef"),
                "httpListener": balancer("listener/app/edge/0123456789abcdef/0123456789abcdef"),
                "httpsListener": balancer("listener/app/edge/0123456789abcdef/0123456789abcde0"),
            },
            "networkLoadBalancer": balancer("loadbalancer/net/edge/0123456789abcdef"),
            "fileSystem": "fs-0123456789abcdef0",
            "filesImage": "public.ecr.aws/docker/library/busybox:1.37",
        });
        if !FARGATE {
            ecs["capacity"] = json!("ec2");
        }
        ecs
    }
}

#[async_trait]
impl<const FARGATE: bool> Account for Nobody<FARGATE> {
    const NAME: &'static str = if FARGATE { "ecs/fargate" } else { "ecs/ec2" };

    async fn new(_check: &'static str) -> Option<Self> {
        Some(Self)
    }

    async fn close(self) {}

    fn provider(&self) -> Provider {
        let target = serde_json::from_value(Self::settings()).unwrap();
        Provider {
            calls: Arc::new(Empty),
            ..portolan_provider_ecs::ecs(target)
        }
    }

    fn images(&self) -> Arc<dyn Images> {
        Arc::new(Pins)
    }

    fn target(&self) -> Target {
        serde_json::from_value(json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Target", "metadata": { "name": "prod" },
            "spec": { "provider": "ecs", "ecs": Self::settings() },
        }))
        .unwrap()
    }

    fn app(&self) -> [String; 2] {
        ["default", "shop"].map(String::from)
    }

    fn server(&self, _port: u16) -> Value {
        json!({ "image": "registry.example/server:1", "resources": {"memory": "64Mi"} })
    }

    fn task(&self) -> Value {
        json!({ "image": "registry.example/task:1", "resources": {"memory": "64Mi"} })
    }

    fn failing(&self) -> Value {
        self.task()
    }

    fn free_ports(&self, count: usize) -> Vec<u16> {
        (18000..).take(count).collect()
    }

    async fn put_foreign(&self, _scope: &Scope, _id: &ResourceId, _body: &Value) {}

    async fn change_by_hand(&self, _scope: &Scope, _id: &ResourceId) -> Result<(), Cannot> {
        Err(NO_PLATFORM)
    }

    async fn copies(&self, _scope: &Scope, _id: &ResourceId) -> usize {
        0
    }

    async fn runs(&self, _scope: &Scope, _job: &str) -> usize {
        0
    }

    fn is_bookkeeping(_field: &str) -> bool {
        false
    }

    fn takes_name(_id: &ResourceId) -> bool {
        true
    }

    fn place(_scope: &Scope, id: &ResourceId) -> Option<String> {
        Some(id.to_string())
    }

    fn tells_targets_apart() -> Result<(), Cannot> {
        Ok(())
    }

    async fn listen(&self, _scope: &Scope) {}

    fn requests(&self) -> Vec<String> {
        Vec::new()
    }

    async fn lose_next_answer(&self, _of: Request<'_>) {}

    async fn hide_a_part(&self) -> Result<(), Cannot> {
        Err(NO_PLATFORM)
    }

    fn has_long_operations() -> Result<(), Cannot> {
        Err(NO_PLATFORM)
    }

    fn fills_in_defaults() -> Result<(), Cannot> {
        Err(NO_PLATFORM)
    }

    async fn trouble(&self, _scope: &Scope, _trouble: Trouble) -> Result<WriteRequest, Cannot> {
        Err(NO_PLATFORM)
    }
}

/// Nothing is there.
struct Empty;

fn refused() -> CallError {
    CallError::new(ErrorClass::Bug, "Bug", "nothing is written by these tests")
}

#[async_trait]
impl Calls for Empty {
    async fn realm(&self) -> Result<String, CallError> {
        Ok("123456789012/eu-west-1/prod".to_string())
    }

    async fn preflight(&self, _scope: &Scope, _writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        Err(refused())
    }

    async fn observe(
        &self,
        _scope: &Scope,
        _wanted: &[ResourceId],
        _open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        Ok(Observation {
            resources: BTreeMap::new(),
            complete: true,
            ..Observation::default()
        })
    }

    async fn create(&self, _scope: &Scope, _request: &WriteRequest) -> Result<Accepted, CallError> {
        Err(refused())
    }

    async fn update(&self, _scope: &Scope, _request: &WriteRequest) -> Result<Accepted, CallError> {
        Err(refused())
    }

    async fn delete(&self, _scope: &Scope, _request: &WriteRequest) -> Result<Accepted, CallError> {
        Err(refused())
    }

    async fn note(&self, _scope: &Scope, _held: Option<&Held>) -> Result<(), CallError> {
        Err(refused())
    }
}

/// To a digest that follows from the reference.
struct Pins;

#[async_trait]
impl Images for Pins {
    async fn pin(&self, request: &PinRequest) -> Result<PinnedImage, ImageError> {
        let ImageSource::Reference(reference) = &request.source else {
            panic!("nothing is built here")
        };
        let digest = format!("sha256:{}", hash_of(&["image", &reference.to_string()]));
        Ok(PinnedImage {
            reference: reference.clone(),
            digest: Digest::parse(&digest).unwrap(),
            config: ImageDefaults::default(),
        })
    }

    async fn pinned_already(&self, request: &PinRequest) -> Result<Option<PinnedImage>, ImageError> {
        self.pin(request).await.map(Some)
    }

    async fn is_unpacked(&self, _digest: &Digest) -> Result<bool, ImageError> {
        Ok(false)
    }

    async fn unpack(&self, _digest: &Digest) -> Result<Vec<std::path::PathBuf>, ImageError> {
        Ok(Vec::new())
    }
}
