//! What a provider's author supplies: an empty account of the platform, and a hand on it behind the provider's back.

use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::manifest::Target;
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{ErrorClass, Images, Provider, WriteRequest};
use serde_json::Value;

/// Why something cannot be shown on this platform: one sentence, which is printed. It is tried as far as the suite can try
/// it, and fails the check where the platform shows the thing after all.
pub type Cannot = &'static str;

/// One account, project, cluster or machine in which nothing is; each check gets one of its own.
///
/// What a platform has no way to show answers [`Cannot`]. There are no defaults: whoever adds a provider has thought of each.
#[async_trait]
pub trait Account: Sized + Send + Sync {
    /// As failures call it: `local`, `fake/ecs-like`.
    const NAME: &'static str;

    /// `None`, after a line `SKIP CHECK: REASON`, where this machine has no such platform.
    async fn new(check: &'static str) -> Option<Self>;

    /// Leaves nothing behind.
    async fn close(self);

    /// The provider as each command makes it anew, for this account.
    fn provider(&self) -> Provider;

    /// What pins the images of [`Account::server`] and [`Account::task`], to another digest for another tag.
    fn images(&self) -> Arc<dyn Images>;

    /// The Target that a user would write for it.
    fn target(&self) -> Target;

    /// Namespace and name for the app of the check.
    fn app(&self) -> [String; 2];

    /// A container, in the manifest's words, that serves on `port` until it is stopped.
    fn server(&self, port: u16) -> Value;

    /// One that does its work and ends with success.
    fn task(&self) -> Value;

    /// One that starts and fails.
    fn failing(&self) -> Value;

    /// Ports that are free to be published.
    fn free_ports(&self, count: usize) -> Vec<u16>;

    /// Somebody else puts an object under this name, without Portolan: with a body as the provider renders it, and no tag
    /// of ours on it.
    async fn put_foreign(&self, scope: &Scope, id: &ResourceId, body: &Value);

    /// Somebody else changes an object of ours that is there, so that looks tell another etag of it; a reason where they tell
    /// none.
    async fn change_by_hand(&self, scope: &Scope, id: &ResourceId) -> Result<(), Cannot>;

    /// How many objects of this kind and name there are, as the platform itself counts.
    async fn copies(&self, scope: &Scope, id: &ResourceId) -> usize;

    /// How often the job has run, whatever became of it.
    async fn runs(&self, scope: &Scope, job: &str) -> usize;

    /// Whether a field of an object only tells that something else has changed: a hash of it, say. What shows a field of the
    /// manifest is another one.
    fn is_bookkeeping(field: &str) -> bool;

    /// Whether the platform would take the name, by its own rules and not by the provider's code.
    fn takes_name(id: &ResourceId) -> bool;

    /// Where the object stands among all of the account: two that are told apart by nothing stand in one place. `None`
    /// for what is named by its content, and shared.
    fn place(scope: &Scope, id: &ResourceId) -> Option<String>;

    /// Whether two Targets of one app in one account have places of their own.
    fn tells_targets_apart() -> Result<(), Cannot>;

    /// Begins to listen on the wire between the providers that are made from now on and the platform.
    async fn listen(&self, scope: &Scope);

    /// Every request that went over the wire since then at the latest, each as a text that is the same for the same request.
    fn requests(&self) -> Vec<String>;

    /// The next such request is taken by the platform, and its answer is lost.
    async fn lose_next_answer(&self, of: Request<'_>);

    /// The next look shows a part of what there is.
    async fn hide_a_part(&self) -> Result<(), Cannot>;

    /// Whether writes may take long, and answer a handle.
    fn has_long_operations() -> Result<(), Cannot>;

    /// Whether the platform fills in what nobody has set.
    fn fills_in_defaults() -> Result<(), Cannot>;

    /// Brings about that the write which is answered meets the trouble. The app of `scope` is up.
    async fn trouble(&self, scope: &Scope, trouble: Trouble) -> Result<WriteRequest, Cannot>;
}

/// Whose answer is to be lost.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    Look,
    Write(&'a ResourceId),
}

/// Ways in which a platform refuses, beyond those that the suite brings about by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is asked too much.
    Throttled,
    /// The credentials do not suffice.
    Denied,
    /// The account holds as much as it may.
    Full,
    /// What is asked can never be.
    Nonsense,
}

impl Trouble {
    pub const ALL: [Self; 4] = [Self::Throttled, Self::Denied, Self::Full, Self::Nonsense];

    /// Whether the provider tells it as what it is.
    pub fn is_told_as(self, class: ErrorClass) -> bool {
        match self {
            Self::Throttled => matches!(class, ErrorClass::Retry { .. }),
            Self::Denied => class == ErrorClass::Denied,
            Self::Full => class == ErrorClass::Quota,
            Self::Nonsense => class == ErrorClass::Invalid,
        }
    }
}
