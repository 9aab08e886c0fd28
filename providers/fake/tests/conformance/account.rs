//! An account in memory, and a hand on it: as a platform's table has it, and as whoever checks the suite wants it.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use portolan_conformance::{Account, Cannot, Request, Trouble};
use portolan_core::manifest::Target;
use portolan_core::name::OwnerId;
use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Images, Provider, WriteRequest};
use portolan_provider_fake::kinds::{BALANCER, JOB, Kind, NETWORK};
use portolan_provider_fake::platform::{CLOUD_RUN_LIKE, ECS_LIKE, PLAIN, Platform};
use portolan_provider_fake::{FakeCloud, FakeImages, FakeShape, Fault, Object, On, Rules, provider};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A platform, what of it can be shown, and the provider for it.
pub trait Modelled: Send + Sync {
    const NAME: &'static str;
    const PLATFORM: &'static Platform;
    const SHOWS: Shows;

    fn provider(cloud: FakeCloud) -> Provider {
        provider(cloud, FakeShape::of(Self::PLATFORM))
    }
}

#[derive(Clone, Copy)]
pub struct Shows {
    pub defaults: Result<(), Cannot>,
    pub throttle: Result<(), Cannot>,
    /// A kind of which an account holds a few only.
    pub few: Result<Kind, Cannot>,
    pub operations: Result<(), Cannot>,
    pub parts: Result<(), Cannot>,
    pub targets: Result<(), Cannot>,
    /// Of the kinds for which the table has them.
    pub etags: Result<(), Cannot>,
}

impl Shows {
    const fn all(few: Kind) -> Self {
        Self {
            defaults: Ok(()),
            throttle: Ok(()),
            few: Ok(few),
            operations: Ok(()),
            parts: Ok(()),
            targets: Ok(()),
            etags: Ok(()),
        }
    }
}

pub struct Plain;

impl Modelled for Plain {
    const NAME: &'static str = "fake/plain";
    const PLATFORM: &'static Platform = &PLAIN;
    const SHOWS: Shows = Shows {
        defaults: Err("it shows what was written, and nothing else"),
        throttle: Err("it takes as many requests as there are"),
        few: Err("it has no quota"),
        ..Shows::all(BALANCER)
    };
}

pub struct EcsLike;

impl Modelled for EcsLike {
    const NAME: &'static str = "fake/ecs-like";
    const PLATFORM: &'static Platform = &ECS_LIKE;
    const SHOWS: Shows = Shows::all(BALANCER);
}

pub struct CloudRunLike;

impl Modelled for CloudRunLike {
    const NAME: &'static str = "fake/cloud-run-like";
    const PLATFORM: &'static Platform = &CLOUD_RUN_LIKE;
    const SHOWS: Shows = Shows::all(JOB);
}

pub struct InMemory<P> {
    cloud: FakeCloud,
    images: FakeImages,
    platform: PhantomData<P>,
}

impl<P: Modelled> InMemory<P> {
    fn write(id: ResourceId, body: Value) -> WriteRequest {
        WriteRequest {
            verb: Verb::Create,
            idempotency_token: id.to_string(),
            id,
            body,
            revision: None,
            etag: None,
            generation: 1,
            take_over: false,
            erase_data: false,
        }
    }

    /// As many as there may be, and one more.
    async fn one_too_many(&self, scope: &Scope, kind: Kind) -> WriteRequest {
        let wanted =
            |number: usize| Self::write(ResourceId::new(kind.name, format!("one-of-many-{number}")), json!({}));
        let mut number = 0;
        loop {
            let one_more = wanted(number);
            match self.cloud.write(scope, &one_more) {
                Ok(_) => number += 1,
                Err(error) if error.code == "QuotaExceeded" => return one_more,
                Err(_) => tokio::time::sleep(std::time::Duration::from_secs(10)).await,
            }
        }
    }
}

#[async_trait]
impl<P: Modelled> Account for InMemory<P> {
    const NAME: &'static str = P::NAME;

    async fn new(_check: &'static str) -> Option<Self> {
        let began = Instant::now();
        let clock = Arc::new(move || u64::try_from(began.elapsed().as_millis()).expect("a short test"));
        Some(Self {
            cloud: FakeCloud::of(P::PLATFORM, clock),
            images: FakeImages::default(),
            platform: PhantomData,
        })
    }

    async fn close(self) {}

    fn provider(&self) -> Provider {
        P::provider(self.cloud.clone())
    }

    fn images(&self) -> Arc<dyn Images> {
        Arc::new(self.images.clone())
    }

    fn target(&self) -> Target {
        Target::local()
    }

    fn app(&self) -> [String; 2] {
        ["default".into(), "shop".into()]
    }

    fn server(&self, _port: u16) -> Value {
        json!({ "image": "registry.example/server:1" })
    }

    fn task(&self) -> Value {
        json!({ "image": "registry.example/task:1" })
    }

    fn failing(&self) -> Value {
        json!({ "image": "registry.example/failing:1", "env": { "FAKE_FAILS": "yes" } })
    }

    fn free_ports(&self, count: usize) -> Vec<u16> {
        (8000..).take(count).collect()
    }

    async fn put_foreign(&self, _scope: &Scope, id: &ResourceId, body: &Value) {
        let object = Object::by_hand(OwnerId::from_tag("somebody-else"), body.clone());
        self.cloud.put_by_hand(id.clone(), object);
    }

    async fn change_by_hand(&self, _scope: &Scope, id: &ResourceId) -> Result<(), Cannot> {
        P::SHOWS.etags?;
        let rules = Rules::of(P::PLATFORM);
        if !rules.kind(&id.kind).is_some_and(|rules| rules.etag) {
            return Err("the table gives it none");
        }
        let mut object = self.cloud.objects().remove(id).expect("it is there");
        object.body["somebody"] = json!("was here");
        self.cloud.put_by_hand(id.clone(), object);
        Ok(())
    }

    async fn copies(&self, _scope: &Scope, id: &ResourceId) -> usize {
        let there = self.cloud.truth(id, |_, _| ()).is_some();
        let doubled = self.cloud.violations().contains(&format!("a second {id}"));
        usize::from(there) + usize::from(doubled)
    }

    async fn runs(&self, scope: &Scope, job: &str) -> usize {
        let id = FakeShape::of(P::PLATFORM).object(scope, JOB, job);
        self.cloud.runs(&id) as usize
    }

    fn is_bookkeeping(_field: &str) -> bool {
        false
    }

    fn takes_name(id: &ResourceId) -> bool {
        let rules = Rules::of(P::PLATFORM);
        rules.kind(&id.kind).is_some_and(|rules| rules.takes_name(&id.name))
    }

    fn place(_scope: &Scope, id: &ResourceId) -> Option<String> {
        Some(id.to_string())
    }

    fn tells_targets_apart() -> Result<(), Cannot> {
        P::SHOWS.targets
    }

    async fn listen(&self, _scope: &Scope) {}

    fn requests(&self) -> Vec<String> {
        self.cloud.calls().iter().map(|call| format!("{call:?}")).collect()
    }

    async fn lose_next_answer(&self, of: Request<'_>) {
        let on = match of {
            Request::Look => On::Observe,
            Request::Write(id) => On::Write(id.clone()),
        };
        self.cloud.fail_next(on, Fault::LoseAnswer);
    }

    async fn hide_a_part(&self) -> Result<(), Cannot> {
        P::SHOWS.parts?;
        self.cloud.fail_next(On::Observe, Fault::Partial);
        Ok(())
    }

    fn has_long_operations() -> Result<(), Cannot> {
        P::SHOWS.operations
    }

    fn fills_in_defaults() -> Result<(), Cannot> {
        P::SHOWS.defaults
    }

    async fn trouble(&self, scope: &Scope, trouble: Trouble) -> Result<WriteRequest, Cannot> {
        let one = |name: &str| Self::write(ResourceId::new(NETWORK.name, name), json!({}));
        match trouble {
            Trouble::Throttled => {
                P::SHOWS.throttle?;
                while self.cloud.observe(scope, &[], &[]).is_ok() {}
                let nothing = WriteRequest {
                    verb: Verb::Delete,
                    ..one("nothing")
                };
                while self.cloud.write(scope, &nothing).is_ok() {}
                Ok(one("another"))
            }
            Trouble::Denied => Err("an account in memory has no credentials"),
            Trouble::Full => Ok(self.one_too_many(scope, P::SHOWS.few?).await),
            Trouble::Nonsense => Ok(one("No Name At All")),
        }
    }
}
