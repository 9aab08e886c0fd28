//! The calls of the local provider, each against the machine of the app's supervisor.

use std::collections::{BTreeMap, BTreeSet};

use portolan_core::name::OwnerId;
use portolan_core::observation::{Held, Observation};
use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, ErrorClass, WriteRequest};
use portolan_provider_fake::{Fault, Tally, answer_lost};
use portolan_provider_local::translate::{self, Said};
use portolan_supervisor::machine::Event;
use portolan_supervisor::machine::world::World;
use portolan_supervisor::protocol::{DeleteOutcome, ErrorBody, Observed, PutOutcome, Request};
use portolan_supervisor::spec::Object;
use serde_json::json;

use super::super::random::Random;
use super::supervised::Supervised;

/// One machine: a supervisor for each app, and one store of images.
pub struct ThisMachine {
    pub(super) supervised: BTreeMap<OwnerId, Supervised>,
    pub(super) unpacked: BTreeSet<ResourceId>,
    pub(super) tally: Tally,
    pub(super) now: u64,
    seed: u64,
    booted_at: u64,
}

/// How long the machine has run when a scenario begins.
const UP_MS: u64 = 1_000_000;

impl ThisMachine {
    pub fn new(seed: u64, now: u64) -> Self {
        Self {
            supervised: BTreeMap::new(),
            unpacked: BTreeSet::new(),
            tally: Tally::default(),
            now,
            seed,
            booted_at: now - UP_MS,
        }
    }

    pub(super) fn reboot(&mut self, scope: &Scope) {
        self.booted_at = self.now;
        let now = self.now;
        self.of(scope).reboot(now);
    }

    pub(super) fn of(&mut self, scope: &Scope) -> &mut Supervised {
        let nth = self.supervised.len() as u64;
        let (booted_at, chance) = (self.booted_at, Random::of(self.seed, 100 + nth));
        let new = || Supervised::new(booted_at, chance);
        self.supervised.entry(scope.owner.clone()).or_insert_with(new)
    }

    pub(super) fn look(
        &mut self,
        scope: &Scope,
        wanted: &[ResourceId],
        fault: Option<&Fault>,
    ) -> Result<Observation, CallError> {
        match fault {
            Some(Fault::Refuse(error) | Fault::DoAndRefuse(error)) => return Err(error.clone()),
            Some(Fault::Reordered) | None => {}
            Some(_) => return Err(answer_lost()),
        }
        let now = self.now;
        let (mut seen, by_supervisor) = self.of(scope).words(now);
        if fault.is_some() {
            seen.objects.reverse();
        }
        let said = match by_supervisor {
            true => Said::BySupervisor,
            false => Said::ByFiles,
        };
        let mut observation = translate::observation(scope, &seen, said);
        for id in wanted.iter().filter(|id| self.unpacked.contains(*id)) {
            let image = translate::image(&id.name, layers());
            observation.resources.insert(id.clone(), image);
        }
        Ok(observation)
    }

    pub(super) fn change(
        &mut self,
        scope: &Scope,
        request: &WriteRequest,
        fault: Option<&Fault>,
    ) -> Result<Accepted, CallError> {
        *self.tally.writes.entry(scope.owner.clone()).or_default() += 1;
        if let Some(Fault::Refuse(error)) = fault {
            return Err(error.clone());
        }
        if let Some(Fault::Slow { ms } | Fault::TimeOut { ms }) = fault {
            let until = self.now + ms;
            self.of(scope).slow_down(until);
        }
        let answer = match request.verb {
            _ if translate::is_image(&request.id) => self.unpack(&request.id),
            Verb::Create | Verb::Update => self.put(scope, request, fault)?,
            Verb::Delete => self.delete(scope, request)?,
        };
        match fault {
            None | Some(Fault::Slow { .. } | Fault::FailLate { .. }) => Ok(answer),
            Some(Fault::DoAndRefuse(error)) => Err(error.clone()),
            Some(Fault::TimeOut { .. }) => Err(time_out()),
            Some(_) => Err(answer_lost()),
        }
    }

    /// It is there once, whoever needs it and however often it is asked for: nobody counts that.
    fn unpack(&mut self, id: &ResourceId) -> Accepted {
        self.unpacked.insert(id.clone());
        Accepted::Done {
            outputs: BTreeMap::from([(translate::LAYERS.to_string(), json!(layers()))]),
        }
    }

    fn put(&mut self, scope: &Scope, request: &WriteRequest, fault: Option<&Fault>) -> Result<Accepted, CallError> {
        let object = translate::object_of(scope, request)?;
        let now = self.now;
        let is_cut_off = matches!(fault, Some(Fault::DoAndRefuse(_)));
        let supervised = self.of(scope);
        let (kind, name) = (object.kind(), object.name().to_string());
        let put = |world: &mut World| {
            let found = standing(scope, request, world)?;
            put_and_follow(world, object, found.as_ref(), is_cut_off).map_err(translate::refused)
        };
        let outcome = supervised.ask(now, put)?;
        if let Some(Fault::FailLate { ms }) = fault {
            supervised.crash_later(kind, name, now + ms);
        }
        if outcome == PutOutcome::Created {
            *self.tally.made.entry(counted(scope, &request.id)).or_default() += 1;
        }
        Ok(Accepted::done())
    }

    pub(super) fn remember(
        &mut self,
        scope: &Scope,
        held: Option<&Held>,
        fault: Option<&Fault>,
    ) -> Result<(), CallError> {
        if let Some(Fault::Refuse(error)) = fault {
            return Err(error.clone());
        }
        let now = self.now;
        let (seen, _) = self.of(scope).words(now);
        if let Some(object) = translate::with_note(scope, held, &seen) {
            *self.tally.writes.entry(scope.owner.clone()).or_default() += 1;
            let put = self.of(scope).ask(now, |world| world.put(object));
            put.map_err(translate::refused)?;
        }
        match fault {
            None => Ok(()),
            Some(Fault::DoAndRefuse(error)) => Err(error.clone()),
            Some(_) => Err(answer_lost()),
        }
    }

    fn delete(&mut self, scope: &Scope, request: &WriteRequest) -> Result<Accepted, CallError> {
        let kind = translate::native_kind(&request.id)?;
        let now = self.now;
        let (found, outcome) = self.of(scope).ask(now, |world| {
            let found = standing(scope, request, world)?;
            let outcome = world.delete(kind, &request.id.name, request.erase_data);
            Ok((found, outcome.map_err(translate::refused)?))
        })?;
        let is_going = found.is_some_and(|found| found.deleting);
        if outcome == DeleteOutcome::Deleted && !is_going {
            *self.tally.deleted.entry(counted(scope, &request.id)).or_default() += 1;
        }
        Ok(Accepted::done())
    }
}

fn standing(scope: &Scope, request: &WriteRequest, world: &World) -> Result<Option<Observed>, CallError> {
    translate::standing(scope, request, &world.observation())
}

/// The two requests of one call, unless the connection ends between them.
fn put_and_follow(
    world: &mut World,
    object: Object,
    found: Option<&Observed>,
    is_cut_off: bool,
) -> Result<PutOutcome, ErrorBody> {
    let follows = translate::after_put(&object, found).filter(|_| !is_cut_off);
    let outcome = world.put(object)?;
    match follows {
        Some(Request::Retry { name }) => world.event(Event::Retry { name }),
        Some(Request::RunJob { name }) => world.event(Event::RunJob { name }),
        _ => {}
    }
    Ok(outcome)
}

/// Names are an app's own.
pub fn counted(scope: &Scope, id: &ResourceId) -> ResourceId {
    ResourceId::new(&id.kind, format!("{}/{}", scope.app, id.name))
}

fn layers() -> Vec<std::path::PathBuf> {
    vec!["/images/layer".into()]
}

fn time_out() -> CallError {
    CallError::new(
        ErrorClass::Retry { after: None },
        "SupervisorSilent",
        "the supervisor did not answer in time",
    )
}
