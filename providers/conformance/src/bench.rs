//! A provider under check: its account, the engine over it, and a journal that can be lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::facts::{Facts, ImageDefaults, ImageSource, PinnedImage};
use portolan_core::name::hash_of;
use portolan_core::plan::{Plan, Scope};
use portolan_core::reference::Digest;
use portolan_core::resolve::{ResolveInput, image_requests, resolve, scope_of};
use portolan_core::resource::{ResourceId, Resources};
use portolan_engine::journal::MemoryJournal;
use portolan_engine::{Audience, Engine, EngineError, EngineEvent, Outcome, Work};
use portolan_provider_api::{PinRequest, Provider};
use serde_json::Value;
use tokio::sync::watch;

use crate::account::Account;
use crate::apps;
use crate::hand::Hand;
use crate::recorder::Recorder;

pub struct Bench<A> {
    pub account: A,
    pub provider: Provider,
    pub recorder: Arc<Recorder>,
    pub journal: MemoryJournal,
    port: u16,
}

impl<A: Account> Bench<A> {
    pub fn new(account: A) -> Self {
        let (provider, recorder) = Recorder::around(account.provider());
        Self {
            port: account.free_ports(1)[0],
            account,
            provider,
            recorder,
            journal: MemoryJournal::default(),
        }
    }

    pub async fn close(self) {
        let Self {
            account,
            provider,
            recorder,
            ..
        } = self;
        drop((provider, recorder));
        account.close().await;
    }

    /// Another process takes over: it knows what the journal knows, and asks by a provider of its own.
    pub fn begin_anew(&mut self) {
        (self.provider, self.recorder) = Recorder::around(self.account.provider());
    }

    pub fn shop(&self) -> Value {
        apps::shop(&self.account, self.port)
    }

    pub fn work(&self, manifest: &Value) -> Work {
        Work::apply(apps::parsed(manifest), self.account.target(), "/nowhere")
    }

    pub async fn scope(&self, work: &Work) -> Scope {
        let realm = self.provider.calls.realm().await;
        let realm = realm.unwrap_or_else(|error| panic!("{}: the realm is not told: {error:?}", A::NAME));
        scope_of(&work.resolve_input(&realm))
    }

    /// What the manifest is rendered to, with every image pinned.
    pub async fn rendered(&self, work: &Work) -> Resources {
        let realm = self.provider.calls.realm().await.expect("it was told before");
        let input = work.resolve_input(&realm);
        self.rendered_from(&input, self.facts(&input).await)
    }

    pub fn rendered_from(&self, input: &ResolveInput<'_>, facts: Facts) -> Resources {
        let desired = resolve(input, &facts).unwrap_or_else(|faults| panic!("the manifest is a good one: {faults:?}"));
        let resources = self.provider.shape.render(&desired);
        resources.unwrap_or_else(|faults| panic!("{}: what it takes is not rendered: {faults:?}", A::NAME))
    }

    async fn facts(&self, input: &ResolveInput<'_>) -> Facts {
        let (images, mut facts) = (self.account.images(), Facts::default());
        for (container, source) in image_requests(input).expect("its images are references") {
            let request = PinRequest { container, source };
            let pinned: PinnedImage = images.pin(&request).await.expect("the account knows its images");
            facts.images.insert(request.container, pinned);
        }
        facts
    }

    /// The app of the work, to be brought about call by call.
    pub async fn hand(&self, work: &Work) -> Hand<'_, A> {
        Hand::new(self, self.scope(work).await, self.rendered(work).await)
    }

    /// The app of the work, brought about by the engine.
    pub async fn reconcile(&self, work: Work) -> Result<Outcome, EngineError> {
        let (_go_on, stop) = watch::channel(false);
        self.engine()
            .reconcile(&self.provider, work, Arc::new(Agreeable), stop)
            .await
    }

    /// What the engine would do.
    pub async fn preview(&self, work: &Work) -> Plan {
        let preview = self.engine().preview(&self.provider, work).await;
        preview
            .unwrap_or_else(|error| panic!("{}: there is no plan: {error:?}", A::NAME))
            .plan
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::new(self.journal.clone()), self.account.images())
    }

    /// So, and it has to come to an end.
    pub async fn outcome(&self, work: Work) -> Outcome {
        let outcome = self.reconcile(work).await;
        outcome.unwrap_or_else(|error| panic!("{}: the engine came to no end: {error:?}", A::NAME))
    }

    /// How long a platform may take for anything, as far as its provider knows it.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(60) + 4 * self.provider.shape.read_lag()
    }

    /// As failures begin: which provider, and which kind.
    pub fn about(&self, id: &ResourceId) -> String {
        format!("{}: {}", A::NAME, id.kind)
    }
}

/// Every image pinned to a digest that follows from its reference, for what is rendered and never run.
pub fn pinned(input: &ResolveInput<'_>) -> Facts {
    let requests = image_requests(input).expect("its images are references").into_iter();
    let pinned = requests.map(|(container, source)| {
        let ImageSource::Reference(reference) = source else {
            panic!("nothing is built here")
        };
        let digest = format!("sha256:{}", hash_of(&["image", &reference.to_string()]));
        let image = PinnedImage {
            digest: Digest::parse(&digest).expect("SHA-256 in hex is a digest"),
            reference,
            config: ImageDefaults::default(),
        };
        (container, image)
    });
    Facts {
        images: pinned.collect(),
    }
}

/// Says yes, and tells nobody.
struct Agreeable;

#[async_trait]
impl Audience for Agreeable {
    fn event(&self, _event: &EngineEvent) {}

    async fn approve(&self, _plan: &Plan, _reasons: &[String]) -> bool {
        true
    }
}
