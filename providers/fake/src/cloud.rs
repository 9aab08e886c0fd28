//! The platform as a value that tests share: an account behind a lock, with a clock, faults that wait for their call, and
//! a record of what was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_core::name::OwnerId;
use portolan_core::observation::{Held, Observation, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, ErrorClass, OpenOperation, WriteRequest};

use crate::account::{Account, Tally};
use crate::faults::{Fault, Faults, On, answer_lost};
use crate::object::Object;
use crate::platform::{PLAIN, Platform};
use crate::vault::Vault;

/// Tells the time, in milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// One account of the platform. Clones are the same account.
#[derive(Clone)]
pub struct FakeCloud {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Clone)]
struct Inner {
    account: Account,
    realm: String,
    faults: Faults,
    vault: Vault,
    /// `None`: nobody will ask.
    record: Option<Record>,
}

#[derive(Clone, Default)]
struct Record {
    calls: Vec<Called>,
    write_times: Vec<(ResourceId, u64)>,
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq)]
pub enum Called {
    Realm,
    Observe {
        wanted: Vec<ResourceId>,
        open: Vec<OpenOperation>,
    },
    Preflight {
        writes: Vec<WriteRequest>,
    },
    Write(WriteRequest),
    Note(Option<Held>),
    RunJob(ResourceId),
    Promote(ResourceId),
}

impl FakeCloud {
    pub fn new(clock: Clock) -> Self {
        Self::of(&PLAIN, clock)
    }

    /// An account of that platform.
    pub fn of(platform: &Platform, clock: Clock) -> Self {
        let inner = Inner {
            account: Account::new(platform),
            realm: "fake-account".to_string(),
            faults: Faults::default(),
            vault: Vault::default(),
            record: Some(Record::default()),
        };
        Self {
            clock,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Another account in which everything is as it is in this one.
    pub fn fork(&self, clock: Clock) -> Self {
        Self {
            clock,
            inner: Arc::new(Mutex::new(self.guard().clone())),
        }
    }

    /// From now on reads show what was so this long ago.
    pub fn set_lag(&self, lag_ms: u64) {
        self.guard().account.set_lag(lag_ms, lag_ms);
    }

    /// So, but lists and descriptions apart; with a `seed` each read is late by anything up to that.
    pub fn set_lags(&self, list_ms: u64, description_ms: u64, seed: Option<u64>) {
        let account = &mut self.guard().account;
        account.set_lag(list_ms, description_ms);
        if let Some(seed) = seed {
            account.vary(seed);
        }
    }

    /// What was is known this long, for reads that are staler than usual.
    pub fn remember(&self, ms: u64) {
        self.guard().account.objects.remember(ms);
    }

    /// Another account stands behind the target from now on.
    pub fn set_realm(&self, realm: &str) {
        self.guard().realm = realm.to_string();
    }

    /// The platform keeps this value for the secret that is named `name/key`.
    pub fn keep_secret(&self, name: &str, value: &str) {
        self.guard().vault.values.insert(name.to_string(), value.to_string());
    }

    /// From now on the provider repeats what the platform says of a request, the values of its secrets too.
    pub fn repeat_secrets(&self) {
        self.guard().vault.is_repeated = true;
    }

    /// Calls are counted no more: a run of days would fill the memory with them.
    pub fn stop_recording(&self) {
        self.guard().record = None;
    }

    /// The next call that fits meets the fault.
    pub fn fail_next(&self, on: On, fault: Fault) {
        self.guard().faults.add(on, fault);
    }

    pub fn calls(&self) -> Vec<Called> {
        self.guard()
            .record
            .as_ref()
            .map(|record| record.calls.clone())
            .unwrap_or_default()
    }

    /// The writes that were asked for, well or not.
    pub fn writes(&self) -> Vec<WriteRequest> {
        let writes = self.calls().into_iter().filter_map(|call| match call {
            Called::Write(request) => Some(request),
            _ => None,
        });
        writes.collect()
    }

    /// When writes to the resource were asked for.
    pub fn write_times(&self, id: &ResourceId) -> Vec<u64> {
        let inner = self.guard();
        let times = inner.record.iter().flat_map(|record| &record.write_times);
        times.filter(|(written, _)| written == id).map(|(_, at)| *at).collect()
    }

    /// What must never happen, and did.
    pub fn violations(&self) -> Vec<String> {
        self.guard().account.violations.clone()
    }

    /// The first of them since they were asked for last.
    pub fn take_violation(&self) -> Option<String> {
        self.guard().account.violations.pop()
    }

    pub fn tally(&self) -> Tally {
        self.guard().account.tally.clone()
    }

    /// How many writes that owner has asked for, well or not.
    pub fn writes_by(&self, owner: &OwnerId) -> u64 {
        self.guard().account.tally.writes.get(owner).copied().unwrap_or(0)
    }

    /// How often the job ran, in all revisions.
    pub fn runs(&self, job: &ResourceId) -> u32 {
        self.guard().account.runs(job)
    }

    /// Whether the job ran in that revision, or began to.
    pub fn has_run(&self, job: &ResourceId, revision: Option<&str>) -> bool {
        self.guard().account.has_run(job, revision)
    }

    /// What there is, data that was kept left out.
    pub fn objects(&self) -> BTreeMap<ResourceId, Object> {
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.account.expire(now);
        let objects = inner.account.objects.iter().filter(|(_, object)| !object.retained);
        objects
            .map(|(id, object)| (id.clone(), Object::clone(object)))
            .collect()
    }

    /// The first object that is so, data that was kept among them.
    pub fn find(&self, wanted: impl Fn(&ResourceId, &Object) -> bool) -> Option<ResourceId> {
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.account.expire(now);
        let mut objects = inner.account.objects.iter();
        objects
            .find(|(id, object)| wanted(id, object))
            .map(|(id, _)| id.clone())
    }

    /// Asks about the object as it truly is, whatever reads show.
    pub fn truth<T>(&self, id: &ResourceId, ask: impl FnOnce(&Object, &ResourceState) -> T) -> Option<T> {
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.account.expire(now);
        let rules = inner.account.rules.kind(&id.kind)?;
        let object = inner.account.objects.get(id)?;
        Some(ask(object, &object.state(&rules.kind, now)))
    }

    /// What is noted of the app, whatever reads show.
    pub fn noted(&self, scope: &Scope) -> Option<Held> {
        self.guard().account.objects.noted(scope).cloned()
    }

    /// The revision of the service that answers now.
    pub fn serves(&self, id: &ResourceId) -> Option<String> {
        let now = (self.clock)();
        let inner = self.guard();
        let rules = inner.account.rules.kind(&id.kind)?;
        let object = inner.account.objects.get(id)?;
        object.serves(&rules.kind, now).map(String::from)
    }

    /// Somebody changes the object, or puts one there, by hand.
    pub fn put_by_hand(&self, id: ResourceId, object: Object) {
        let now = (self.clock)();
        self.guard().account.put_by_hand(&id, object, now);
    }

    pub fn remove_by_hand(&self, id: &ResourceId) {
        let now = (self.clock)();
        self.guard().account.objects.set(id, None, now);
    }

    pub fn realm(&self) -> Result<String, CallError> {
        let mut inner = self.guard();
        inner.note(|| Called::Realm);
        match inner.faults.meet(&On::Realm) {
            Some(Fault::Refuse(error)) => Err(error),
            Some(_) => Err(answer_lost()),
            None => Ok(inner.realm.clone()),
        }
    }

    pub fn preflight(&self, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        let mut inner = self.guard();
        inner.note(|| Called::Preflight {
            writes: writes.to_vec(),
        });
        match inner.faults.meet(&On::Preflight) {
            Some(Fault::Refuse(error)) if matches!(error.class, ErrorClass::Retry { .. }) => Err(error),
            Some(Fault::Refuse(error)) => Ok(vec![error]),
            Some(_) => Err(answer_lost()),
            None => Ok(Vec::new()),
        }
    }

    pub fn observe(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
    ) -> Result<Observation, CallError> {
        let fault = self.guard().faults.meet(&On::Observe);
        self.observe_with(scope, wanted, open, fault.as_ref())
    }

    /// So, with this fault.
    pub fn observe_with(
        &self,
        scope: &Scope,
        wanted: &[ResourceId],
        open: &[OpenOperation],
        fault: Option<&Fault>,
    ) -> Result<Observation, CallError> {
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.note(|| Called::Observe {
            wanted: wanted.to_vec(),
            open: open.to_vec(),
        });
        if let Some(Fault::Refuse(error)) = fault {
            return Err(error.clone());
        }
        inner.account.take_token(now)?;
        let observation = inner.account.observe(scope, wanted, now, fault);
        match fault {
            Some(Fault::DoAndRefuse(error)) => Err(error.clone()),
            Some(Fault::Partial | Fault::Empty | Fault::Stale { .. } | Fault::NotFound { .. } | Fault::Reordered)
            | None => Ok(observation),
            Some(_) => Err(answer_lost()),
        }
    }

    pub fn write(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let fault = self.guard().faults.meet(&On::Write(request.id.clone()));
        self.write_with(scope, request, fault.as_ref())
    }

    /// So, with this fault.
    pub fn write_with(
        &self,
        scope: &Scope,
        request: &WriteRequest,
        fault: Option<&Fault>,
    ) -> Result<Accepted, CallError> {
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.note(|| Called::Write(request.clone()));
        if let Some(record) = &mut inner.record {
            record.write_times.push((request.id.clone(), now));
        }
        let answer = match fault {
            Some(Fault::Refuse(error)) => Err(error.clone()),
            _ => inner.account.take_write_token(now),
        };
        let answer = answer.and_then(|()| inner.account.write(scope, request, now, fault));
        answer.map_err(|error| inner.vault.explain(request, error))
    }

    pub fn note(&self, scope: &Scope, held: Option<&Held>) -> Result<(), CallError> {
        let fault = self.guard().faults.meet(&On::Note);
        self.note_with(scope, held, fault.as_ref())
    }

    /// So, with this fault.
    pub fn note_with(&self, scope: &Scope, held: Option<&Held>, fault: Option<&Fault>) -> Result<(), CallError> {
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.note(|| Called::Note(held.cloned()));
        if let Some(Fault::Refuse(error)) = fault {
            return Err(error.clone());
        }
        inner.account.take_token(now)?;
        inner.account.note(scope, held, now);
        match fault {
            Some(Fault::DoAndRefuse(error)) => Err(error.clone()),
            Some(_) => Err(answer_lost()),
            None => Ok(()),
        }
    }

    /// Starts a job that has run once more, in the revision that is there.
    pub fn run_again(&self, job: &ResourceId) -> Result<(), CallError> {
        let now = (self.clock)();
        self.change(On::RunJob, Called::RunJob(job.clone()), |account| {
            account.begin_run(job, now)
        })
    }

    /// Lets a rollout go on; one that does not wait is left alone.
    pub fn promote_object(&self, service: &ResourceId) -> Result<(), CallError> {
        let now = (self.clock)();
        let called = Called::Promote(service.clone());
        self.change(On::Promote, called, |account| account.promote(service, now))
    }

    fn change(
        &self,
        on: On,
        called: Called,
        change: impl FnOnce(&mut Account) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let mut inner = self.guard();
        inner.note(|| called);
        let fault = inner.faults.meet(&on);
        if let Some(Fault::Refuse(error)) = fault {
            return Err(error);
        }
        let answer = change(&mut inner.account);
        match fault {
            Some(_) => Err(answer_lost()),
            None => answer,
        }
    }

    fn guard(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, called: impl FnOnce() -> Called) {
        if let Some(record) = &mut self.record {
            record.calls.push(called());
        }
    }
}
