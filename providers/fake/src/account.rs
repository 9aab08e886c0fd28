//! One account of the platform: what each call does to its objects. Time comes in with every call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portolan_core::name::OwnerId;
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::{ResourceId, is_closed};
use portolan_provider_api::{Accepted, CallError, ErrorClass, Handle, WriteRequest};

use crate::faults::{Fault, answer_lost};
use crate::object::{Object, Operation, uses};
use crate::objects::Objects;
use crate::platform::Platform;
use crate::read;
use crate::rules::{KindRules, Rules};
use crate::throttle::Bucket;

#[derive(Clone)]
pub struct Account {
    pub rules: Arc<Rules>,
    pub objects: Objects,
    lag: Lag,
    bucket: Option<Bucket>,
    write_bucket: Option<Bucket>,
    /// Tokens of creates that were done.
    tokens: BTreeSet<String>,
    operations: u64,
    /// Each write gets the next: no two states of anything bear the same.
    etags: u64,
    /// How often each job ran, by name and revision.
    runs: BTreeMap<(String, String), u32>,
    /// What ends at which time without anybody's doing.
    due: BTreeSet<(u64, ResourceId)>,
    pub tally: Tally,
    /// What must never happen, and did.
    pub violations: Vec<String>,
}

/// How late reads may be. With a chance each read is late by something up to that, else by all of it.
#[derive(Clone, Debug, Default)]
struct Lag {
    list_ms: u64,
    description_ms: u64,
    chance: Option<u64>,
}

/// What was done, by name.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub made: BTreeMap<ResourceId, u32>,
    pub deleted: BTreeMap<ResourceId, u32>,
    /// Creates that failed after they had been taken.
    pub failed_late: BTreeMap<ResourceId, u32>,
    /// Calls that changed something, or tried to, by whose they were.
    pub writes: BTreeMap<OwnerId, u64>,
}

impl Account {
    pub fn new(platform: &Platform) -> Self {
        let rules = Arc::new(Rules::of(platform));
        let mut account = Self {
            objects: Objects::default(),
            lag: Lag::default(),
            bucket: rules.throttle.map(Bucket::new),
            write_bucket: rules.write_throttle.map(Bucket::new),
            tokens: BTreeSet::new(),
            operations: 0,
            etags: 0,
            runs: BTreeMap::new(),
            due: BTreeSet::new(),
            tally: Tally::default(),
            violations: Vec::new(),
            rules,
        };
        let (list, description) = (account.rules.list_lag_ms, account.rules.description_lag_ms);
        account.set_lag(list, description);
        account
    }

    pub fn set_lag(&mut self, list_ms: u64, description_ms: u64) {
        self.lag.list_ms = list_ms;
        self.lag.description_ms = description_ms;
        self.objects.remember(list_ms.max(description_ms));
    }

    /// From now on no two reads need be equally late.
    pub fn vary(&mut self, seed: u64) {
        self.lag.chance = Some(seed);
    }

    pub fn runs(&self, job: &ResourceId) -> u32 {
        let runs = self.runs.iter().filter(|((name, _), _)| *name == job.name);
        runs.map(|(_, count)| count).sum()
    }

    pub fn has_run(&self, job: &ResourceId, revision: Option<&str>) -> bool {
        let run = (job.name.clone(), revision.unwrap_or_default().to_string());
        self.runs.contains_key(&run)
    }

    pub fn take_token(&mut self, now: u64) -> Result<(), CallError> {
        self.bucket.as_mut().map_or(Ok(()), |bucket| bucket.take(now))
    }

    pub fn take_write_token(&mut self, now: u64) -> Result<(), CallError> {
        match &mut self.write_bucket {
            Some(bucket) => bucket.take(now),
            None => self.take_token(now),
        }
    }

    /// A list by the owner's tag, and a description of each that it names and of each that is wanted.
    pub fn observe(&mut self, scope: &Scope, wanted: &[ResourceId], now: u64, fault: Option<&Fault>) -> Observation {
        self.expire(now);
        let since = |ms: u64| now.saturating_sub(ms);
        let list_at = match fault {
            Some(Fault::Stale { ms }) => since(*ms),
            _ => since(self.lag.of_list()),
        };
        let mut ids: BTreeSet<&ResourceId> = wanted.iter().collect();
        let (rules, objects) = (&self.rules, &self.objects);
        let names = objects.names_of(&scope.owner);
        ids.extend(names.filter(|id| is_listed(rules, objects, scope, id, list_at)));
        let newest = match fault {
            Some(Fault::NotFound { ms }) => newest(objects, &ids, since(*ms)),
            _ => None,
        };
        let mut observation = Observation {
            complete: true,
            held: self.objects.note_as_of(scope, list_at).cloned(),
            ..Observation::default()
        };
        for id in ids {
            let at = match fault {
                Some(Fault::Stale { ms }) => since(*ms),
                Some(Fault::NotFound { ms }) if newest.as_ref() == Some(id) => since(*ms),
                _ => since(self.lag.of_description()),
            };
            let chance = self.lag.chance.unwrap_or(now);
            let Some((object, rules)) = objects.as_of(id, at).zip(rules.kind(&id.kind)) else {
                continue;
            };
            let mut seen = read::observed(scope, rules, id, object, at);
            read::mess_up(&mut seen.body, rules, chance);
            if fault == Some(&Fault::Reordered) {
                read::turn_all(&mut seen.body, rules, chance + 1);
            }
            read::normalise(&mut seen.body, rules);
            observation.resources.insert(id.clone(), seen);
        }
        match fault {
            Some(Fault::Partial) => read::half_of(observation),
            Some(Fault::Empty) => Observation::default(),
            _ => observation,
        }
    }

    pub fn write(
        &mut self,
        scope: &Scope,
        request: &WriteRequest,
        now: u64,
        fault: Option<&Fault>,
    ) -> Result<Accepted, CallError> {
        *self.tally.writes.entry(scope.owner.clone()).or_default() += 1;
        self.expire(now);
        let known = self.rules.clone();
        let rules = known
            .kind(&request.id.kind)
            .ok_or_else(|| CallError::new(ErrorClass::Bug, "UnknownKind", format!("there is no {}", request.id)))?;
        if !is_closed(&request.body) {
            self.violations.push(format!("an open value reached {}", request.id));
        }
        self.check_owner(scope, request)?;
        self.check_etag(rules, request, now, fault)?;
        let answer = match rules.one_operation_at_a_time && self.is_operated_on(&request.id, now) {
            true if self.is_under_way(request) => Ok(self.handle()),
            true => Err(conflict(format!("another operation on {} goes on", request.id))),
            false => match request.verb {
                Verb::Create => self.create(rules, scope, request, now, fault),
                Verb::Update => self.update(rules, scope, request, now, fault),
                Verb::Delete => self.delete(rules, request, now, fault),
            },
        }?;
        match (fault, answer) {
            (Some(Fault::TimeOut { .. }), _) => Err(time_out()),
            (Some(Fault::DoAndRefuse(error)), _) => Err(error.clone()),
            (Some(Fault::HandleLost), Accepted::Operation { .. }) => Ok(Accepted::Operation {
                handle: Handle("operation-that-nobody-knows".into()),
            }),
            (None | Some(Fault::HandleLost | Fault::Slow { .. } | Fault::FailLate { .. }), answer) => Ok(answer),
            (Some(Fault::OtherWriter | Fault::Reordered), answer) => Ok(answer),
            (Some(_), _) => Err(answer_lost()),
        }
    }

    /// A record with the owner's tag, which lists show as late as anything.
    pub fn note(&mut self, scope: &Scope, held: Option<&Held>, now: u64) {
        *self.tally.writes.entry(scope.owner.clone()).or_default() += 1;
        self.objects.note(scope, held, now);
    }

    fn check_owner(&mut self, scope: &Scope, request: &WriteRequest) -> Result<(), CallError> {
        let object = self.objects.get(&request.id);
        let foreign = object.is_some_and(|object| !object.is_of(scope));
        if foreign && !request.take_over {
            // Whoever finds a name free may be too late; what is changed was seen.
            if request.verb != Verb::Create {
                self.violations
                    .push(format!("{:?} of a foreign {}", request.verb, request.id));
            }
            return Err(conflict(format!("{} belongs to somebody else", request.id)));
        }
        Ok(())
    }

    /// What has been written to since it was seen is left as it is, if the write says what that was.
    fn check_etag(
        &mut self,
        rules: &KindRules,
        request: &WriteRequest,
        now: u64,
        fault: Option<&Fault>,
    ) -> Result<(), CallError> {
        let (id, somebody_wrote) = (&request.id, fault == Some(&Fault::OtherWriter));
        let is_compared = rules.etag && request.verb != Verb::Create;
        let Some(object) = self.objects.get(id).filter(|_| is_compared).cloned() else {
            return match somebody_wrote {
                true => Err(conflict(format!("somebody else writes to {id}"))),
                false => Ok(()),
            };
        };
        if somebody_wrote {
            self.put_by_hand(id, Object::clone(&object), now);
        }
        match &request.etag {
            None => self
                .violations
                .push(format!("{:?} of {id} bears no etag", request.verb)),
            Some(etag) if !somebody_wrote && *etag == object.etag.to_string() => {}
            Some(_) => return Err(aborted(format!("the etag of {id} is another one now"))),
        }
        Ok(())
    }

    /// Whoever wrote it, it bears another etag from now on.
    pub fn put_by_hand(&mut self, id: &ResourceId, object: Object, now: u64) {
        let etag = self.next_etag();
        self.objects.set(id, Some(Object { etag, ..object }), now);
    }

    fn next_etag(&mut self) -> u64 {
        self.etags += 1;
        self.etags
    }

    /// Whether the operation that goes on does what is asked for: whoever asks again takes it up.
    fn is_under_way(&self, request: &WriteRequest) -> bool {
        let object = self.objects.get(&request.id);
        let same = |object: &Arc<Object>| {
            let wanted = (&object.body, &object.revision, object.generation);
            object.deleted_at.is_none() && wanted == (&request.body, &request.revision, request.generation)
        };
        request.verb != Verb::Delete && object.is_some_and(same)
    }

    fn is_operated_on(&self, id: &ResourceId, now: u64) -> bool {
        self.objects.get(id).is_some_and(|object| object.is_operated_on(now))
    }

    fn create(
        &mut self,
        rules: &KindRules,
        scope: &Scope,
        request: &WriteRequest,
        now: u64,
        fault: Option<&Fault>,
    ) -> Result<Accepted, CallError> {
        if !rules.takes_name(&request.id.name) {
            let message = format!("{} is no name for a {}", request.id.name, request.id.kind);
            return Err(CallError::new(ErrorClass::Invalid, "InvalidName", message));
        }
        if rules.client_token && self.tokens.contains(&request.idempotency_token) {
            return Ok(Accepted::done());
        }
        let known = self.objects.get(&request.id).filter(|object| !object.retained);
        match known {
            Some(object) if object.deleted_at.is_some() => {
                return Err(conflict(format!("{} is still being deleted", request.id)));
            }
            Some(_) if !rules.kind.names_are_unique => self.violations.push(format!("a second {}", request.id)),
            Some(_) => {}
            None if self.is_full(rules) => {
                let message = format!("there are as many of kind {} as there may be", request.id.kind);
                return Err(CallError::new(ErrorClass::Quota, "QuotaExceeded", message));
            }
            None => {}
        }
        if known.is_none() || !rules.kind.names_are_unique {
            *self.tally.made.entry(request.id.clone()).or_default() += 1;
        }
        if rules.client_token {
            self.tokens.insert(request.idempotency_token.clone());
        }
        Ok(self.put(rules, scope, request, now, fault))
    }

    fn is_full(&self, rules: &KindRules) -> bool {
        let Some(most) = rules.quota else { return false };
        self.objects.iter().filter(|(id, _)| id.kind == rules.kind.name).count() >= most
    }

    fn update(
        &mut self,
        rules: &KindRules,
        scope: &Scope,
        request: &WriteRequest,
        now: u64,
        fault: Option<&Fault>,
    ) -> Result<Accepted, CallError> {
        match self.objects.get(&request.id) {
            Some(object) if object.deleted_at.is_none() => Ok(self.put(rules, scope, request, now, fault)),
            _ => Err(conflict(format!("{} is gone", request.id))),
        }
    }

    fn put(
        &mut self,
        rules: &KindRules,
        scope: &Scope,
        request: &WriteRequest,
        now: u64,
        fault: Option<&Fault>,
    ) -> Accepted {
        let revision = request.revision.clone();
        let known = self.objects.get(&request.id).cloned();
        let known = known.filter(|known| !known.retained);
        let mut changed_at = now;
        let promoted = known
            .as_ref()
            .is_some_and(|known| known.promoted && known.revision == revision);
        // The same again, or fewer of the same, starts nothing; what has failed is tried once more.
        if let Some(known) = known
            .as_ref()
            .filter(|known| known.revision == revision && !known.has_failed(now))
        {
            changed_at = known.changed_at;
        }
        if rules.kind.runs_to_end {
            changed_at = self.run(request, changed_at);
        }
        let operation = self.begin_operation(rules, &request.id, known.is_none(), now, fault);
        let serving = known
            .as_ref()
            .and_then(|known| known.serves(&rules.kind, now))
            .map(String::from);
        let steps = known.as_ref().filter(|known| known.revision == revision);
        let steps = steps.map_or(0, |known| known.steps + 1);
        let object = Object {
            uses: uses(&request.body),
            body: request.body.clone(),
            owner: scope.owner.clone(),
            source: scope.source.clone(),
            generation: request.generation,
            revision,
            changed_at,
            deleted_at: None,
            retained: false,
            promoted,
            steps,
            slower_by: slower_by(fault),
            made_at: known.as_ref().map_or(now, |known| known.made_at),
            etag: self.next_etag(),
            serving,
            operation,
        };
        let has_handle = rules.kind.operation_ms.is_some();
        self.objects.set(&request.id, Some(object), now);
        match has_handle {
            false => Accepted::done(),
            true => self.handle(),
        }
    }

    /// What is under way after a change: where the platform has operations, or where one is to fail.
    fn begin_operation(
        &mut self,
        rules: &KindRules,
        id: &ResourceId,
        makes: bool,
        now: u64,
        fault: Option<&Fault>,
    ) -> Option<Operation> {
        let takes = rules.kind.operation_ms;
        let operation = match fault {
            Some(Fault::FailLate { ms }) => Operation {
                ends_at: now + ms,
                fails: true,
                makes,
            },
            Some(Fault::Slow { ms } | Fault::TimeOut { ms }) => Operation {
                ends_at: now + takes.unwrap_or(0) + ms,
                fails: false,
                makes,
            },
            _ => Operation {
                ends_at: now + takes?,
                fails: false,
                makes,
            },
        };
        if operation.fails && makes {
            self.due.insert((operation.ends_at, id.clone()));
        }
        Some(operation)
    }

    fn handle(&mut self) -> Accepted {
        self.operations += 1;
        Accepted::Operation {
            handle: Handle(format!("operation-{}", self.operations)),
        }
    }

    pub fn begin_run(&mut self, job: &ResourceId, now: u64) -> Result<(), CallError> {
        let mut object = self.copy_of(job)?;
        object.changed_at = now;
        let revision = object.revision.clone().unwrap_or_default();
        *self.runs.entry((job.name.clone(), revision)).or_default() += 1;
        self.objects.set(job, Some(object), now);
        Ok(())
    }

    pub fn promote(&mut self, service: &ResourceId, now: u64) -> Result<(), CallError> {
        let mut object = self.copy_of(service)?;
        object.promoted = true;
        self.put_by_hand(service, object, now);
        Ok(())
    }

    fn copy_of(&self, id: &ResourceId) -> Result<Object, CallError> {
        let object = self.objects.get(id).map(|object| Object::clone(object));
        object.ok_or_else(|| conflict(format!("{id} is gone")))
    }

    /// A job runs once for each revision; one that ran with success is done at once.
    fn run(&mut self, request: &WriteRequest, changed_at: u64) -> u64 {
        let revision = request.revision.clone().unwrap_or_default();
        let runs = self.runs.entry((request.id.name.clone(), revision)).or_default();
        if *runs > 0 && !crate::object::fails(&request.body) {
            return 0;
        }
        *runs += 1;
        changed_at
    }

    fn delete(
        &mut self,
        rules: &KindRules,
        request: &WriteRequest,
        now: u64,
        fault: Option<&Fault>,
    ) -> Result<Accepted, CallError> {
        if let Some(user) = self.user_of(&request.id) {
            return Err(conflict(format!("{} is used by {user}", request.id)));
        }
        let Ok(mut object) = self.copy_of(&request.id) else {
            return Ok(Accepted::done());
        };
        if rules.kind.holds_data && !request.erase_data {
            object.retained = true;
        } else if object.deleted_at.is_none() {
            object.deleted_at = Some(now);
            let ends_at = match fault {
                Some(Fault::FailLate { ms }) => {
                    object.operation = Some(Operation {
                        ends_at: now + ms,
                        fails: true,
                        makes: false,
                    });
                    now + ms
                }
                _ => now + rules.kind.deleting_ms + slower_by(fault),
            };
            self.due.insert((ends_at, request.id.clone()));
        }
        self.objects.set(&request.id, Some(object), now);
        self.expire(now);
        match rules.kind.operation_ms.is_some() && rules.etag {
            true => Ok(self.handle()),
            false => Ok(Accepted::done()),
        }
    }

    fn user_of(&self, id: &ResourceId) -> Option<&ResourceId> {
        let mut objects = self.objects.iter();
        objects
            .find(|(_, object)| object.uses.contains(id))
            .map(|(user, _)| user)
    }

    /// What ends by itself does so when its time has come, however late somebody asks.
    pub fn expire(&mut self, now: u64) {
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let (at, id) = self.due.pop_first().expect("there is a first");
            let Some(object) = self.objects.get(&id) else { continue };
            let failed = |one: &&Operation| one.fails && one.ends_at == at;
            let failed = object.operation.as_ref().filter(failed).map(|one| one.makes);
            match (object.deleted_at, failed) {
                (Some(_), Some(false)) => self.stays(&id, at),
                (Some(deleted), _) if deleted + self.deleting_ms(&id) <= at => {
                    *self.tally.deleted.entry(id.clone()).or_default() += 1;
                    self.objects.set(&id, None, at);
                }
                (_, Some(true)) => {
                    *self.tally.failed_late.entry(id.clone()).or_default() += 1;
                    self.objects.set(&id, None, at);
                }
                _ => {}
            }
        }
    }

    /// A delete has failed after it was taken.
    fn stays(&mut self, id: &ResourceId, at: u64) {
        if let Ok(mut object) = self.copy_of(id) {
            object.deleted_at = None;
            object.operation = None;
            self.objects.set(id, Some(object), at);
        }
    }

    fn deleting_ms(&self, id: &ResourceId) -> u64 {
        self.rules.kind(&id.kind).map_or(0, |rules| rules.kind.deleting_ms)
    }
}

impl Lag {
    fn of_list(&mut self) -> u64 {
        self.up_to(self.list_ms)
    }

    fn of_description(&mut self) -> u64 {
        self.up_to(self.description_ms)
    }

    /// Half of the reads show what is there now.
    fn up_to(&mut self, most: u64) -> u64 {
        let Some(chance) = &mut self.chance else { return most };
        if most == 0 {
            return 0;
        }
        *chance = chance
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let drawn = *chance >> 33;
        match drawn % 2 {
            0 => 0,
            _ => (drawn / 2) % (most + 1),
        }
    }
}

fn is_listed(rules: &Rules, objects: &Objects, scope: &Scope, id: &ResourceId, at: u64) -> bool {
    let rules = rules.kind(&id.kind);
    let hidden = rules.is_some_and(|rules| rules.hidden_while_draining);
    let object = objects.as_of(id, at);
    object.is_some_and(|object| object.owner == scope.owner && !(hidden && object.deleted_at.is_some()))
}

/// What was made last, and was not there at that time.
fn newest(objects: &Objects, ids: &BTreeSet<&ResourceId>, at: u64) -> Option<ResourceId> {
    let made = ids.iter().filter_map(|id| {
        let object = objects.get(id)?;
        objects.as_of(id, at).is_none().then_some((object.made_at, *id))
    });
    made.max().map(|(_, id)| id.clone())
}

fn slower_by(fault: Option<&Fault>) -> u64 {
    match fault {
        Some(Fault::Slow { ms } | Fault::TimeOut { ms }) => *ms,
        _ => 0,
    }
}

fn conflict(message: String) -> CallError {
    CallError::new(ErrorClass::Conflict, "Conflict", message)
}

/// Cloud Run's word for a read-modify-write that has to be done anew.
fn aborted(message: String) -> CallError {
    CallError::new(ErrorClass::Conflict, "Aborted", message)
}

fn time_out() -> CallError {
    CallError::new(
        ErrorClass::Retry { after: None },
        "DeadlineExceeded",
        "the platform gave up waiting for its own work",
    )
}
