//! Providers that break one promise each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use portolan_core::capability::{Capability, Support};
use portolan_core::desired::DesiredState;
use portolan_core::fault::Fault;
use portolan_core::observation::{Held, Observation, ObservedResource, Ownership};
use portolan_core::plan::{FieldChange, Scope, Verb, field_changes};
use portolan_core::resource::{Resource, ResourceId, Resources};
use portolan_provider_api::{Accepted, CallError, Calls, ErrorClass, OpenOperation, Provider, Shape, WriteRequest};
use portolan_provider_fake::kinds::JOB;
use portolan_provider_fake::platform::Platform;
use portolan_provider_fake::{FakeCloud, FakeShape, provider};

use crate::account::{CloudRunLike, EcsLike, Modelled, Plain, Shows};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sin {
    Nothing,
    ForgetsTokens,
    MissesWhatIsGone,
    Erases,
    TellsAPart,
    ReadsInPages,
    TakesOver,
    LongNames,
    Unsteady,
    SeesDefaults,
    Misnames,
    TriesAgain,
    Reruns,
    LeavesOutEtags,
    LosesTags,
    LosesNotes,
    CallsAllExact,
    KnowsServicesOnly,
    HasNoUsers,
}

/// `NAME like PLATFORM but SIN`: a provider as any other, but for that.
macro_rules! sinners {
    ($($name:ident like $like:ident but $sin:ident $(, which denies $($excuse:ident)*)?;)*) => {
        $(
            pub struct $name;

            impl Modelled for $name {
                const NAME: &'static str = stringify!($name);
                const PLATFORM: &'static Platform = $like::PLATFORM;
                const SHOWS: Shows = Shows {
                    $($($excuse: Err("it says so"),)*)?
                    ..$like::SHOWS
                };

                fn provider(cloud: FakeCloud) -> Provider {
                    Sinner::provider(cloud, Self::PLATFORM, Sin::$sin)
                }
            }
        )*
    };
}

sinners! {
    ForgetsTokens like Plain but ForgetsTokens;
    MissesWhatIsGone like Plain but MissesWhatIsGone;
    Erases like Plain but Erases;
    TellsAPart like Plain but TellsAPart;
    ReadsInPages like Plain but ReadsInPages, which denies parts;
    TakesOver like Plain but TakesOver;
    LongNames like EcsLike but LongNames;
    DeniesTargets like Plain but Nothing, which denies targets;
    Unsteady like Plain but Unsteady;
    SeesDefaults like EcsLike but SeesDefaults;
    DeniesDefaults like EcsLike but Nothing, which denies defaults;
    Misnames like EcsLike but Misnames;
    DeniesThrottle like EcsLike but Nothing, which denies throttle;
    TriesAgain like CloudRunLike but TriesAgain;
    DeniesOperations like CloudRunLike but Nothing, which denies operations;
    Reruns like Plain but Reruns;
    LeavesOutEtags like CloudRunLike but LeavesOutEtags;
    DeniesEtags like CloudRunLike but Nothing, which denies etags;
    LosesTags like Plain but LosesTags;
    LosesNotes like Plain but LosesNotes;
    CallsAllExact like Plain but CallsAllExact;
    KnowsServicesOnly like Plain but KnowsServicesOnly;
    HasNoUsers like Plain but HasNoUsers;
}

/// Both halves of the provider, and what is wrong with it.
#[derive(Clone)]
struct Sinner {
    cloud: FakeCloud,
    shape: FakeShape,
    sin: Sin,
    /// How often it was asked.
    asked: Arc<AtomicUsize>,
}

impl Sinner {
    fn provider(cloud: FakeCloud, platform: &Platform, sin: Sin) -> Provider {
        let shape = FakeShape::of(platform);
        let sinner = Arc::new(Self {
            cloud: cloud.clone(),
            shape: shape.clone(),
            sin,
            asked: Arc::default(),
        });
        Provider {
            shape: sinner.clone(),
            calls: sinner,
            ..provider(cloud, shape)
        }
    }

    fn is(&self, sin: Sin) -> bool {
        self.sin == sin
    }

    fn write(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut request = request.clone();
        match self.sin {
            Sin::ForgetsTokens => request.idempotency_token = format!("token-{number}"),
            Sin::Erases => request.erase_data = true,
            Sin::TakesOver => request.take_over = true,
            Sin::LeavesOutEtags => request.etag = None,
            _ => {}
        }
        let answer = self.cloud.write(scope, &request);
        match (self.sin, answer) {
            (Sin::Reruns, Ok(accepted)) if request.id.kind == JOB.name && request.verb == Verb::Update => {
                self.cloud.run_again(&request.id).map(|()| accepted)
            }
            (Sin::TriesAgain, Err(_)) => self.cloud.write(scope, &request),
            (Sin::Misnames, Err(error)) if error.class == ErrorClass::Quota => Err(CallError {
                class: ErrorClass::Invalid,
                ..error
            }),
            (_, answer) => answer,
        }
    }
}

#[async_trait]
impl Calls for Sinner {
    async fn realm(&self) -> Result<String, CallError> {
        self.cloud.realm()
    }

    async fn preflight(&self, _scope: &Scope, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        self.cloud.preflight(writes)
    }

    async fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        if self.is(Sin::ReadsInPages) {
            self.cloud.observe(scope, &[], open)?;
        }
        let mut seen = self.cloud.observe(scope, wanted, open)?;
        seen.complete |= self.is(Sin::TellsAPart);
        for one in seen.resources.values_mut() {
            if self.is(Sin::LosesTags) && one.ownership != Ownership::Foreign {
                one.ownership = Ownership::Ours { generation: 0 };
            }
        }
        Ok(seen)
    }

    async fn create(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.write(scope, request)
    }

    async fn update(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        self.write(scope, request)
    }

    async fn delete(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        if self.is(Sin::MissesWhatIsGone) && self.cloud.truth(&request.id, |_, _| ()).is_none() {
            let message = format!("there is no {}", request.id);
            return Err(CallError::new(ErrorClass::Invalid, "NotFound", message));
        }
        self.write(scope, request)
    }

    async fn note(&self, scope: &Scope, held: Option<&Held>) -> Result<(), CallError> {
        match self.is(Sin::LosesNotes) {
            true => Ok(()),
            false => self.cloud.note(scope, held),
        }
    }
}

impl Shape for Sinner {
    fn name(&self) -> &'static str {
        self.shape.name()
    }

    fn capabilities(&self) -> &'static [Capability] {
        const ALL_EXACT: &[Capability] = &[row("*", Support::Exact)];
        const SERVICES_ONLY: &[Capability] = &[row("services", Support::Exact)];
        const NO_USERS: &[Capability] = &[
            row("*", Support::Exact),
            row("services.*.user", Support::Impossible("there is one user")),
            row("jobs.*.logs", Support::Impossible("nothing is kept")),
            row("services.*.scale.max", Support::Degraded("nothing scales by itself")),
        ];
        match self.sin {
            Sin::CallsAllExact => ALL_EXACT,
            Sin::KnowsServicesOnly => SERVICES_ONLY,
            Sin::HasNoUsers => NO_USERS,
            _ => self.shape.capabilities(),
        }
    }

    fn render(&self, desired: &DesiredState) -> Result<Resources, Vec<Fault>> {
        let mut resources = self.shape.render(desired)?;
        if self.is(Sin::Unsteady) {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            resources
                .values_mut()
                .for_each(|one| one.origin = format!("/spec/{number}"));
        }
        if self.is(Sin::LongNames) {
            let renamed = resources.into_values().map(|one| {
                let id = ResourceId::new(one.id.kind.clone(), format!("{}-balanced", one.id.name));
                (id.clone(), Resource { id, ..one })
            });
            resources = renamed.collect();
        }
        Ok(resources)
    }

    fn diff(&self, resource: &Resource, observed: &ObservedResource) -> Vec<FieldChange> {
        match self.sin {
            Sin::SeesDefaults => field_changes(&observed.body, &resource.body),
            _ => self.shape.diff(resource, observed),
        }
    }

    fn read_lag(&self) -> std::time::Duration {
        self.shape.read_lag()
    }

    fn requests_per_second(&self) -> u32 {
        self.shape.requests_per_second()
    }
}

const fn row(field: &'static str, support: Support) -> Capability {
    Capability { field, support }
}
