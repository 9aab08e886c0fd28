//! What must never happen, looked at when it could: at every ask of the machine, at every call that leaves, at every change
//! of the target, at every transaction, at every end of a run. Each look costs as much as what has changed, not as what
//! there is.

use portolan_core::plan::Verb;
use portolan_core::resource::{EdgeCondition, Resource, ResourceId};
use portolan_engine::journal::{AppRecord, HistoryOutcome, JournalEntry};
use portolan_engine::machine::{Ask, Timestamp};
use portolan_engine::{Outcome, OutcomeKind};
use portolan_provider_api::WriteRequest;
use portolan_provider_fake::Tally;
use portolan_provider_fake::kinds::SERVICE;

use super::calls::Flight;
use super::catalogue::Version;
use super::fault::Fault;
use super::world::{AppRun, Place, World};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub invariant: &'static str,
    pub because: String,
}

/// How often one controller may call, and from when: counted here once more, apart from the engine's own budget.
pub struct Limits {
    per_second: u64,
    /// Thousandths of calls above the steady rate.
    level: u64,
    at: u64,
    not_before: u64,
}

/// A journal's transaction longer than this holds what nobody will read.
const LONGEST_ENTRY: usize = 64 * 1024;

impl Limits {
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second: u64::from(per_second),
            level: 0,
            at: 0,
            not_before: 0,
        }
    }

    pub fn told_to_wait(&mut self, until: Timestamp) {
        self.not_before = self.not_before.max(until.0);
    }

    /// A call leaves: answers what is wrong with that.
    fn call(&mut self, now: u64) -> Option<String> {
        let drained = now.saturating_sub(self.at) * self.per_second;
        self.level = self.level.saturating_sub(drained) + 1000;
        self.at = now;
        // Two seconds' worth at once, and the realm's, which is asked for before there is a budget.
        let most = (self.per_second * 2 + 4) * 1000;
        if now < self.not_before {
            return Some(format!(
                "a call {} ms before the time that the platform named",
                self.not_before - now
            ));
        }
        (self.level > most).then(|| format!("{} calls above the steady rate", self.level / 1000))
    }
}

impl World<'_> {
    pub(super) fn broken(&mut self, invariant: &'static str, because: String) {
        self.note(|_| format!("BROKEN {invariant}: {because}"));
        let broken = Broken { invariant, because };
        self.result.broken.get_or_insert(broken);
    }

    /// The machine asks: a write must be one that it may make.
    pub(super) fn check_ask(&mut self, place: Place, ask: &Ask) {
        let Ask::Call { request, .. } = ask else { return };
        let now = self.time_of(place.controller);
        if self.controllers[place.controller]
            .lease
            .is_some_and(|until| now >= until)
        {
            self.broken("I8", format!("{:?} {} after the lease", request.verb, request.id));
        }
        if request.verb != Verb::Delete {
            self.check_edges(place, request);
        }
        match request.verb {
            Verb::Create => self.check_create(place, request),
            Verb::Update => {}
            Verb::Delete => self.check_delete(place, request),
        }
    }

    /// I3: what is created is desired by a generation that is durable, and where a second create would make a second one,
    /// the intent is too.
    fn check_create(&mut self, place: Place, request: &WriteRequest) {
        let back = self.is_rolling_back(place);
        let known = self.journal.read(&self.apps[place.app].key, |record| {
            let desired = goal(record, back).is_some_and(|resource| resource.contains_key(&request.id));
            (desired, record.intents.contains_key(&request.id))
        });
        let (desired, intended) = known.unwrap_or_default();
        if !desired {
            self.broken(
                "I3",
                format!("{} is created, and no durable generation has it", request.id),
            );
        }
        let once = self
            .stand
            .rules
            .kind(&request.id.kind)
            .is_some_and(|rules| !rules.kind.names_are_unique);
        if once && !intended {
            self.broken("I3", format!("{} is created without a durable intent", request.id));
        }
    }

    /// I7: what comes after a job comes when the job has run, now or before it was deleted.
    fn check_edges(&mut self, place: Place, request: &WriteRequest) {
        let back = self.is_rolling_back(place);
        let app = place.app;
        let scope = self.scope(app, place.account);
        let cloud = &self.accounts[place.account].cloud;
        let goal = self
            .journal
            .read(&self.apps[app].key, |record| goal(record, back).cloned())
            .flatten();
        let Some(goal) = goal else { return };
        let edges = goal.get(&request.id).into_iter().flat_map(|resource| &resource.edges);
        let jobs = edges.filter(|edge| edge.condition == EdgeCondition::Completed);
        let has_run = |job: &ResourceId| goal.get(job).is_some_and(|job| cloud.has_run(scope, job));
        let early = jobs.map(|edge| &edge.to).find(|job| !has_run(job));
        if let Some(job) = early
            && self.now >= self.apps[app].by_hand_until
        {
            let job = job.clone();
            self.broken("I7", format!("{} is written before {job} has run", request.id));
        }
    }

    /// I5, I7, I14: what is deleted is not desired, holds no data that is to stay, and what takes its place is ready.
    fn check_delete(&mut self, place: Place, request: &WriteRequest) {
        let back = self.is_rolling_back(place);
        let Place {
            app,
            controller,
            account,
        } = place;
        let id = &request.id;
        let run = self.apps[app].runs[controller].as_ref();
        let wanted = run.map(|run| self.wanted(app, run.position));
        let version = wanted.map(|wanted| wanted.version);
        let goal = match back {
            true => self
                .journal
                .read(&self.apps[app].key, |record| goal(record, true).cloned())
                .flatten(),
            false => wanted.map(|wanted| wanted.resources.clone()),
        };
        let Some(goal) = goal else {
            return self.broken("I5", format!("{id} is deleted, and nobody has said so"));
        };
        if let Some(resource) = goal.get(id)
            && !self.is_replaced(app, account, resource)
        {
            self.broken("I5", format!("{id} is deleted, and it is desired"));
        }
        let holds_data = self
            .stand
            .rules
            .kind(&id.kind)
            .is_some_and(|rules| rules.kind.holds_data);
        if holds_data && (!request.erase_data || version != Some(Version::DeleteWithData)) {
            self.broken("I14", format!("{id} holds data"));
        }
        if id.kind == SERVICE.name && self.now >= self.apps[app].by_hand_until {
            let missing = goal
                .values()
                .find(|resource| !self.serves(app, account, resource) && !self.makes_room(app, account, resource, id));
            if let Some(missing) = missing.map(|resource| resource.id.clone()) {
                self.broken("I7", format!("{id} is deleted while {missing} does not serve"));
            }
        }
    }

    fn is_rolling_back(&self, place: Place) -> bool {
        self.apps[place.app].runs[place.controller]
            .as_ref()
            .is_some_and(|run| run.rolling_back)
    }

    /// Whether the platform can only delete it and make it anew.
    fn is_replaced(&self, app: usize, account: usize, resource: &Resource) -> bool {
        let Some(rules) = self.stand.rules.kind(&resource.id.kind) else {
            return false;
        };
        let (scope, cloud) = (self.scope(app, account), &self.accounts[account].cloud);
        let differs = |field: &str| cloud.differs_in(scope, resource, field);
        rules.immutable.iter().any(|field| differs(field))
    }

    fn serves(&self, app: usize, account: usize, resource: &Resource) -> bool {
        if resource.id.kind != SERVICE.name {
            return true;
        }
        let scope = self.scope(app, account);
        self.accounts[account].cloud.serves(scope, &resource.id) == resource.revision
    }

    /// Whether `resource` has to wait for the port of the one that is to go.
    fn makes_room(&self, app: usize, account: usize, resource: &Resource, gone: &ResourceId) -> bool {
        let held = self.accounts[account].cloud.claims(self.scope(app, account), gone);
        resource.claims.iter().any(|claim| held.contains(claim))
    }

    /// I8, I11: a call leaves. What changes something does so while nobody else could, also by the clock of whoever gives the
    /// lease.
    pub(super) fn check_send(&mut self, flight: &Flight) {
        if flight.site.changes_something() && self.has_lease() && !self.lease.is_held(flight.controller, self.now) {
            self.broken("I8", format!("{} leaves, and the lease has passed", flight.site));
        }
        if !flight.site.is_budgeted() {
            return;
        }
        let now = self.time_of(flight.controller).0;
        let share = &mut self.controllers[flight.controller].shares[flight.account];
        if let Some(wrong) = share.limits.call(now) {
            self.broken("I11", wrong);
        }
    }

    /// I4, and whatever else the platform itself can tell.
    pub(super) fn check_target(&mut self, account: usize) {
        if let Some(Broken { invariant, because }) = self.accounts[account].cloud.take_violation() {
            self.broken(invariant, because);
        }
    }

    /// I13: what failed is not begun again unless somebody says so. And a transaction is no larger than it need be.
    pub(super) fn check_entries(&mut self, app: usize, account: usize, entries: &[JournalEntry]) {
        for entry in entries {
            match entry {
                JournalEntry::Begun { generation, .. } => {
                    let retry = self.apps[app].runs.iter().flatten().any(|run| run.retry);
                    let held = self.apps[app].held.take();
                    let deleting = generation.kind == portolan_engine::journal::GenerationKind::Delete;
                    // What is found to be as desired after all is written down, and what the target remembers to have
                    // failed; nothing is tried.
                    let remembered = |entry: &JournalEntry| matches!(entry, JournalEntry::Held(_));
                    let found = entries.contains(&JournalEntry::Converged) || entries.iter().any(remembered);
                    if !retry && !deleting && !found && held == Some((account, generation.hash.clone())) {
                        self.broken(
                            "I13",
                            format!("generation {} failed, and is begun again", generation.number),
                        );
                    }
                }
                JournalEntry::Held(hold) => {
                    let evidence: usize = hold.failure.evidence.iter().map(String::len).sum();
                    if evidence > LONGEST_ENTRY {
                        self.broken("I10", format!("a status of {evidence} bytes"));
                    }
                    self.apps[app].held = Some((account, hold.hash.clone()));
                    self.result.failed += 1;
                }
                JournalEntry::Converged => self.apps[app].held = None,
                JournalEntry::History(line) => {
                    let back = self.apps[app].runs.iter().flatten().any(|run| run.rolling_back);
                    let held = matches!(line.outcome, HistoryOutcome::Held { .. });
                    let came_back = matches!(line.outcome, HistoryOutcome::RolledBack { .. });
                    self.apps[app].is_stuck = back && held;
                    if held || came_back {
                        self.result.held.push((line.generation, came_back));
                    }
                }
                _ => {}
            }
        }
    }

    /// I10: what is told of an app never goes back, as long as the same account stands behind its target.
    pub(super) fn check_outcome(&mut self, app: usize, account: usize, outcome: &Outcome) {
        let Some(status) = &outcome.status else { return };
        let now = status.observed_generation;
        let told = self.apps[app].told.filter(|(where_told, _)| *where_told == account);
        let before = told.map_or(0, |(_, generation)| generation);
        if now < before && !self.tags_alone_told(app, account) {
            self.broken(
                "I10",
                format!("the observed generation goes from {before} back to {now}"),
            );
        }
        self.apps[app].told = Some((account, before.max(now)));
    }

    /// Where the journal speaks of another account, only the target's tags tell, until somebody removes the last of them.
    fn tags_alone_told(&self, app: usize, account: usize) -> bool {
        let owner = &self.scope(app, account).owner;
        let is_known = |record: &AppRecord| record.owner.as_ref() == Some(owner) && record.latest.is_some();
        let known = self.journal.read(&self.apps[app].key, is_known).unwrap_or_default();
        let cloud = &self.accounts[account].cloud;
        !known && self.apps[app].removed_by_hand > 0 && cloud.owned(self.scope(app, account)).is_empty()
    }

    /// I6: nothing is made more often than it was wanted, was lost, or failed after it was taken.
    pub(super) fn count_creates(&mut self) {
        for account in 0..self.accounts.len() {
            let tally = self.accounts[account].cloud.tally();
            for app in 0..self.apps.len() {
                self.count_creates_of(app, account, &tally);
            }
        }
    }

    fn count_creates_of(&mut self, app: usize, account: usize, tally: &Tally) {
        let extra = self.apps[app].rollbacks + self.apps[app].removed_by_hand + self.result.failed;
        for (id, made) in &tally.made {
            let wanted = self.times_wanted(app, account, id);
            let failed = tally.failed_late.get(id).copied().unwrap_or(0);
            if wanted > 0 && *made > wanted + failed + extra {
                self.broken("I6", format!("{id} was made {made} times, and wanted {wanted} times"));
            }
        }
    }

    /// How often the script comes from a version without it to one that has it.
    fn times_wanted(&self, app: usize, account: usize, counted: &ResourceId) -> u32 {
        let script = &self.scenario.scripts[app];
        let (scope, cloud) = (self.scope(app, account), &self.accounts[account].cloud);
        let is_it = |id: &ResourceId| *cloud.counted(scope, id) == *counted;
        let has = (0..script.len()).map(|position| self.wanted(app, position).resources.keys().any(is_it));
        let mut before = false;
        has.map(|has| u32::from(!std::mem::replace(&mut before, has) && has))
            .sum()
    }

    /// I1: what is said to have converged has, unless something has gone by itself since it was looked at; and what is held
    /// has a reason.
    pub(super) fn check_verdict(&mut self, app: usize, run: &AppRun, outcome: &Outcome) {
        let (account, position) = (run.account, run.position);
        let state = &self.apps[app];
        let (by_hand, excused) = (self.now < state.by_hand_until, state.excused);
        let version = self.wanted(app, position).version;
        let sound = version.is_sound();
        let goes_by_itself = self.result.met.iter().any(|(_, fault)| *fault == Fault::FailedLate);
        match &outcome.kind {
            OutcomeKind::Converged if !by_hand && !goes_by_itself => self.check_truth(app, account, position),
            OutcomeKind::Held(failure) | OutcomeKind::RolledBack { failure, .. } if sound && !by_hand && !excused => {
                self.broken("I1", format!("app {app} is held without a reason: {failure:?}"));
            }
            _ => {}
        }
    }

    /// What the app must have come to, as the target truly is: all of it, and nothing besides.
    pub(super) fn check_truth(&mut self, app: usize, account: usize, position: usize) {
        let wanted = self.wanted(app, position);
        let resources = wanted.resources.clone();
        let scope = self.scope(app, account);
        for resource in resources.values() {
            if let Some(wrong) = self.accounts[account].cloud.differs(scope, resource) {
                return self.broken("I1", format!("{}: {wrong}", resource.id));
            }
        }
        let keeps_data = wanted.version != Version::DeleteWithData;
        self.check_orphans(app, account, keeps_data, |id| resources.contains_key(id));
    }

    /// A failed generation: what served before serves, and nothing is left of what failed beyond what it still holds.
    pub(super) fn check_held(&mut self, app: usize) {
        if self.apps[app].is_stuck && self.apps[app].excused {
            return;
        }
        let account = self.apps[app].account;
        let scope = self.scope(app, account);
        let key = self.apps[app].key.clone();
        let kept = self
            .journal
            .read(&key, |record| (record.converged.clone(), record.latest.clone()));
        let (converged, latest) = kept.unwrap_or_default();
        let script = &self.scenario.scripts[app];
        // Where nothing has converged before, what earlier versions have made waits for one that does.
        let ever = |id: &ResourceId| (0..script.len()).any(|at| self.wanted(app, at).resources.contains_key(id));
        let any: Vec<ResourceId> = latest
            .iter()
            .flat_map(|_| self.accounts[account].cloud.ids(scope))
            .filter(ever)
            .collect();
        let apply = |one: &std::sync::Arc<portolan_engine::journal::Generation>| {
            one.kind == portolan_engine::journal::GenerationKind::Apply
        };
        let back = converged.filter(apply);
        if let Some(back) = back.as_ref().filter(|_| self.now >= self.apps[app].by_hand_until) {
            let missing = back
                .resources
                .values()
                .find(|resource| !self.serves(app, account, resource));
            if let Some(missing) = missing.map(|resource| resource.id.clone()) {
                return self.broken(
                    "I7",
                    format!("{missing} served before, and does not after the rollback"),
                );
            }
            let other = back.resources.values().find_map(|resource| {
                Some((
                    resource.id.clone(),
                    self.accounts[account].cloud.differs(scope, resource)?,
                ))
            });
            if let Some((id, wrong)) = other {
                return self.broken("I7", format!("after the rollback {id} is not as before: {wrong}"));
            }
        }
        let desired = |id: &ResourceId| match &back {
            Some(back) => back.resources.contains_key(id),
            None => any.contains(id),
        };
        self.check_orphans(app, account, true, desired);
    }

    /// I13: the target remembers what is held, and that alone.
    pub(super) fn check_note(&mut self, app: usize, is_held: bool) {
        let account = self.apps[app].account;
        let (scope, cloud) = (self.scope(app, account), &self.accounts[account].cloud);
        let noted = self.noted(app);
        let wanted = self.apps[app].held.clone().filter(|_| is_held && cloud.can_note(scope));
        if noted != wanted {
            self.broken("I13", format!("the target remembers {noted:?}, and held is {wanted:?}"));
        }
    }

    fn check_orphans(&mut self, app: usize, account: usize, keeps_data: bool, desired: impl Fn(&ResourceId) -> bool) {
        let scope = self.scope(app, account);
        let orphan = self.accounts[account].cloud.orphan(scope, keeps_data, &desired);
        if let Some(orphan) = orphan {
            self.broken("I3", format!("{orphan} is left over"));
        }
    }
}

/// What the target is meant to show by what is durable.
fn goal(record: &AppRecord, back: bool) -> Option<&std::sync::Arc<portolan_core::resource::Resources>> {
    let generation = match back {
        true => record.converged.as_ref(),
        false => record.latest.as_ref(),
    };
    generation.map(|generation| &generation.resources)
}
