//! The platform: objects with tags, operations that take time, reads that lag behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_core::name::OwnerId;
use portolan_core::observation::Observation;
use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::{ResourceId, open_values};
use portolan_provider_api::{Accepted, CallError, ErrorClass, Handle, OpenOperation, WriteRequest};
use serde_json::Value;

use crate::faults::{Fault, Faults, On, answer_lost};
use crate::kinds::{self, Kind};
use crate::read;

/// Tells the time, in milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// One account of the platform. Clones are the same account.
#[derive(Clone)]
pub struct FakeCloud {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Clone, Default)]
struct Inner {
    objects: Objects,
    /// What reads show while they lag: the objects as they were since each time.
    past: Vec<(u64, Objects)>,
    lag_ms: u64,
    /// Tokens of creates that were done, for kinds whose names are not unique.
    tokens: BTreeSet<String>,
    operations: u64,
    /// How often each job ran, by name and revision.
    runs: BTreeMap<(String, String), u32>,
    faults: Faults,
    calls: Vec<Called>,
    write_times: Vec<(ResourceId, u64)>,
    violations: Vec<String>,
}

type Objects = BTreeMap<ResourceId, Object>;

/// One object of the platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub body: Value,
    pub owner: OwnerId,
    pub source: String,
    pub generation: u64,
    pub revision: Option<String>,
    pub changed_at: u64,
    pub deleted_at: Option<u64>,
    /// Its data was kept by a delete.
    pub retained: bool,
    /// Whether its rollout was told to go on.
    pub promoted: bool,
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
    RunJob(ResourceId),
    Promote(ResourceId),
}

impl FakeCloud {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            inner: Arc::default(),
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
        self.guard().lag_ms = lag_ms;
    }

    /// The next call that fits meets the fault.
    pub fn fail_next(&self, on: On, fault: Fault) {
        self.guard().faults.add(on, fault);
    }

    pub fn calls(&self) -> Vec<Called> {
        self.guard().calls.clone()
    }

    /// The writes that were asked for, well or not.
    pub fn writes(&self) -> Vec<WriteRequest> {
        let writes = self.guard().calls.clone().into_iter().filter_map(|call| match call {
            Called::Write(request) => Some(request),
            _ => None,
        });
        writes.collect()
    }

    /// When writes to the resource were asked for.
    pub fn write_times(&self, id: &ResourceId) -> Vec<u64> {
        let inner = self.guard();
        let times = inner.write_times.iter().filter(|(written, _)| written == id);
        times.map(|(_, at)| *at).collect()
    }

    /// What must never happen, and did.
    pub fn violations(&self) -> Vec<String> {
        self.guard().violations.clone()
    }

    /// How often the job ran, in all revisions.
    pub fn runs(&self, job: &ResourceId) -> u32 {
        let runs = &self.guard().runs;
        let runs = runs.iter().filter(|((name, _), _)| *name == job.name);
        runs.map(|(_, count)| count).sum()
    }

    /// What there is, data that was kept left out.
    pub fn objects(&self) -> BTreeMap<ResourceId, Object> {
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.expire(now);
        let objects = inner.objects.iter().filter(|(_, object)| !object.retained);
        objects.map(|(id, object)| (id.clone(), object.clone())).collect()
    }

    /// Somebody changes the object, or puts one there, by hand.
    pub fn put_by_hand(&self, id: ResourceId, object: Object) {
        self.guard().objects.insert(id, object);
    }

    pub fn remove_by_hand(&self, id: &ResourceId) {
        self.guard().objects.remove(id);
    }

    pub fn realm(&self) -> Result<String, CallError> {
        let mut inner = self.guard();
        inner.calls.push(Called::Realm);
        match inner.faults.meet(&On::Realm) {
            Some(Fault::Refuse(error)) => Err(error),
            Some(_) => Err(answer_lost()),
            None => Ok("fake-account".to_string()),
        }
    }

    pub fn preflight(&self, writes: &[WriteRequest]) -> Result<Vec<CallError>, CallError> {
        let mut inner = self.guard();
        inner.calls.push(Called::Preflight {
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
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.calls.push(Called::Observe {
            wanted: wanted.to_vec(),
            open: open.to_vec(),
        });
        let fault = inner.faults.meet(&On::Observe);
        if let Some(Fault::Refuse(error)) = fault {
            return Err(error);
        }
        inner.expire(now);
        let at = now.saturating_sub(inner.lag_ms);
        let observation = read::observation(scope, wanted, inner.as_of(at), at);
        match fault {
            Some(Fault::Partial) => Ok(read::half_of(observation)),
            Some(_) => Err(answer_lost()),
            None => Ok(observation),
        }
    }

    pub fn write(&self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.calls.push(Called::Write(request.clone()));
        inner.write_times.push((request.id.clone(), now));
        let fault = inner.faults.meet(&On::Write(request.id.clone()));
        if let Some(Fault::Refuse(error)) = fault {
            return Err(error);
        }
        inner.expire(now);
        let before = inner.objects.clone();
        let answer = inner.carry_out(scope, request, now);
        inner.remember(before, now);
        match fault {
            Some(_) => Err(answer_lost()),
            None => answer,
        }
    }

    /// Starts a job that has run once more, in the revision that is there.
    pub fn run_again(&self, job: &ResourceId) -> Result<(), CallError> {
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.calls.push(Called::RunJob(job.clone()));
        let fault = inner.faults.meet(&On::RunJob);
        if let Some(Fault::Refuse(error)) = fault {
            return Err(error);
        }
        let answer = inner.begin_run(job, now);
        match fault {
            Some(_) => Err(answer_lost()),
            None => answer,
        }
    }

    /// Lets a rollout go on; one that does not wait is left alone.
    pub fn promote_object(&self, service: &ResourceId) -> Result<(), CallError> {
        let now = (self.clock)();
        let mut inner = self.guard();
        inner.calls.push(Called::Promote(service.clone()));
        let fault = inner.faults.meet(&On::Promote);
        if let Some(Fault::Refuse(error)) = fault {
            return Err(error);
        }
        let answer = inner.promote(service, now);
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
    fn carry_out(&mut self, scope: &Scope, request: &WriteRequest, now: u64) -> Result<Accepted, CallError> {
        let kind = kinds::kind(&request.id.kind)
            .ok_or_else(|| CallError::new(ErrorClass::Bug, "UnknownKind", format!("there is no {}", request.id)))?;
        if !open_values(&request.body).is_empty() {
            self.violations.push(format!("an open value reached {}", request.id));
        }
        self.check_owner(scope, request)?;
        match request.verb {
            Verb::Create => self.create(kind, scope, request, now),
            Verb::Update => self.update(kind, scope, request, now),
            Verb::Delete => self.delete(kind, request, now),
        }
    }

    fn check_owner(&mut self, scope: &Scope, request: &WriteRequest) -> Result<(), CallError> {
        let foreign = self
            .objects
            .get(&request.id)
            .is_some_and(|object| object.owner != scope.owner);
        if foreign && !request.take_over {
            self.violations
                .push(format!("{:?} of a foreign {}", request.verb, request.id));
            return Err(conflict(format!("{} belongs to somebody else", request.id)));
        }
        Ok(())
    }

    fn create(&mut self, kind: &Kind, scope: &Scope, request: &WriteRequest, now: u64) -> Result<Accepted, CallError> {
        if !kind.names_are_unique && !self.tokens.insert(request.idempotency_token.clone()) {
            return Ok(Accepted::done());
        }
        match self.objects.get(&request.id) {
            Some(object) if object.deleted_at.is_some() => {
                self.tokens.remove(&request.idempotency_token);
                return Err(conflict(format!("{} is still being deleted", request.id)));
            }
            Some(object) if !object.retained && !kind.names_are_unique => {
                self.violations.push(format!("a second {}", request.id));
            }
            _ => {}
        }
        Ok(self.put(kind, scope, request, now))
    }

    fn update(&mut self, kind: &Kind, scope: &Scope, request: &WriteRequest, now: u64) -> Result<Accepted, CallError> {
        match self.objects.get(&request.id) {
            Some(object) if object.deleted_at.is_none() => Ok(self.put(kind, scope, request, now)),
            _ => Err(conflict(format!("{} is gone", request.id))),
        }
    }

    fn put(&mut self, kind: &Kind, scope: &Scope, request: &WriteRequest, now: u64) -> Accepted {
        let revision = request.revision.clone();
        let known = self.objects.get(&request.id);
        let mut changed_at = now;
        let promoted = known.is_some_and(|known| known.promoted && known.revision == revision);
        // The same again, or fewer of the same, starts nothing; what has failed is tried once more.
        if let Some(known) = known.filter(|known| known.revision == revision && !read::has_failed(known)) {
            changed_at = known.changed_at;
        }
        if kind.runs_to_end {
            changed_at = self.run(request, changed_at);
        }
        let object = Object {
            body: request.body.clone(),
            owner: scope.owner.clone(),
            source: scope.source.clone(),
            generation: request.generation,
            revision,
            changed_at,
            deleted_at: None,
            retained: false,
            promoted,
        };
        self.objects.insert(request.id.clone(), object);
        if kind.operation_ms.is_none() {
            return Accepted::done();
        }
        self.operations += 1;
        Accepted::Operation {
            handle: Handle(format!("operation-{}", self.operations)),
        }
    }

    fn begin_run(&mut self, job: &ResourceId, now: u64) -> Result<(), CallError> {
        let before = self.objects.clone();
        let object = self
            .objects
            .get_mut(job)
            .ok_or_else(|| conflict(format!("{job} is gone")))?;
        object.changed_at = now;
        let revision = object.revision.clone().unwrap_or_default();
        *self.runs.entry((job.name.clone(), revision)).or_default() += 1;
        self.remember(before, now);
        Ok(())
    }

    fn promote(&mut self, service: &ResourceId, now: u64) -> Result<(), CallError> {
        let before = self.objects.clone();
        let object = self.objects.get_mut(service);
        object.ok_or_else(|| conflict(format!("{service} is gone")))?.promoted = true;
        self.remember(before, now);
        Ok(())
    }

    /// A job runs once for each revision; one that ran with success is done at once.
    fn run(&mut self, request: &WriteRequest, changed_at: u64) -> u64 {
        let revision = request.revision.clone().unwrap_or_default();
        let runs = self.runs.entry((request.id.name.clone(), revision)).or_default();
        if *runs > 0 && !read::fails(&request.body) {
            return 0;
        }
        *runs += 1;
        changed_at
    }

    fn delete(&mut self, kind: &Kind, request: &WriteRequest, now: u64) -> Result<Accepted, CallError> {
        if let Some(user) = self.user_of(&request.id) {
            return Err(conflict(format!("{} is used by {user}", request.id)));
        }
        let Some(object) = self.objects.get_mut(&request.id) else {
            return Ok(Accepted::done());
        };
        if kind.holds_data && !request.erase_data {
            object.retained = true;
        } else {
            object.deleted_at.get_or_insert(now);
        }
        self.expire(now);
        Ok(Accepted::done())
    }

    fn user_of(&self, id: &ResourceId) -> Option<&ResourceId> {
        let uses = |object: &Object| read::depends_on(&object.body).contains(id);
        self.objects
            .iter()
            .find(|(_, object)| uses(object))
            .map(|(user, _)| user)
    }

    /// Deleted objects go when their time has come, however late somebody asks.
    fn expire(&mut self, now: u64) {
        while let Some((at, id)) = self.next_to_go().filter(|(at, _)| *at <= now) {
            let before = self.objects.clone();
            self.objects.remove(&id);
            self.remember(before, at);
        }
    }

    fn next_to_go(&self) -> Option<(u64, ResourceId)> {
        let deleted = self.objects.iter().filter_map(|(id, object)| {
            let lasts = kinds::kind(&id.kind).map_or(0, |kind| kind.deleting_ms);
            Some((object.deleted_at? + lasts, id.clone()))
        });
        deleted.min()
    }

    /// Keeps what the objects were, for reads that lag.
    fn remember(&mut self, before: Objects, now: u64) {
        if before != self.objects {
            if self.past.is_empty() {
                self.past.push((0, before));
            }
            self.past.push((now, self.objects.clone()));
        }
    }

    fn as_of(&self, at: u64) -> &Objects {
        let known = self.past.iter().rev().find(|(since, _)| *since <= at);
        match known {
            Some((_, objects)) if self.lag_ms > 0 => objects,
            _ => &self.objects,
        }
    }
}

fn conflict(message: String) -> CallError {
    CallError::new(ErrorClass::Conflict, "Conflict", message)
}
