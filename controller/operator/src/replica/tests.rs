//! Several processes of several counts of shards over one store of Leases, request by request in any order, killed, frozen and
//! begun anew with another count. The order of requests is that of [`super::Replica`]; what they follow from is its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as KubeLease, LeaseSpec};
use tokio::time::Instant;

use crate::balance::{Holding, Move, decide};
use crate::election::Standing;
use crate::shard::Shard;
use crate::view::View;

const NAME: &str = "portolan-controller";
const PROCESSES: usize = 3;
const APPS: u64 = 6;
/// As in `election.rs`.
const TRUSTED: u64 = 10_000;
const RENEWAL: u64 = 3_000;

/// A fault in the order of requests that has to be found out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// Whoever has taken a Lease does not look once more.
    NoSecondLook,
    /// What has passed of other counts stays there.
    NothingIsTakenAway,
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// An API server: versions grow, and what names one that has passed is refused.
#[derive(Default)]
struct Store {
    leases: BTreeMap<String, KubeLease>,
    version: u64,
}

impl Store {
    fn put(&mut self, name: &str, seen: Option<&KubeLease>, identity: &str, seconds: i32) -> Option<KubeLease> {
        if self.leases.get(name) != seen {
            return None;
        }
        self.version += 1;
        let mut lease = KubeLease::default();
        lease.metadata.resource_version = Some(self.version.to_string());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(identity.into()),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        });
        self.leases.insert(name.into(), lease.clone());
        Some(lease)
    }

    fn delete(&mut self, name: &str, seen: &KubeLease) -> bool {
        let is_as_seen = self.leases.get(name).is_none_or(|lease| lease == seen);
        if is_as_seen {
            self.leases.remove(name);
        }
        is_as_seen
    }
}

/// What a process asks next.
enum Next {
    Look,
    Bid(Shard),
    LookAgain(Shard, Term),
    Delete(Shard, Term, Vec<(String, KubeLease)>),
}

#[derive(Clone)]
struct Term {
    until: u64,
    lease: KubeLease,
}

struct Process {
    identity: String,
    count: u32,
    view: View,
    next: Option<Next>,
    at: u64,
    held: BTreeMap<Shard, Term>,
    /// A number for each journal, another one when it was forgotten.
    journals: BTreeMap<Shard, u64>,
}

struct World {
    flaw: Flaw,
    store: Store,
    chance: Chance,
    start: Instant,
    now: u64,
    processes: Vec<Process>,
    /// By which journal an App was written for last, and by which ever.
    last: BTreeMap<u64, u64>,
    ever: BTreeSet<(u64, u64)>,
    journals: u64,
    /// How often a process began to serve a shard, and by which counts.
    served: BTreeMap<u32, usize>,
}

impl World {
    fn new(seed: u64, flaw: Flaw) -> Self {
        let mut world = Self {
            flaw,
            store: Store::default(),
            chance: Chance(seed),
            start: Instant::now(),
            now: 0,
            processes: Vec::new(),
            last: BTreeMap::new(),
            ever: BTreeSet::new(),
            journals: 0,
            served: BTreeMap::new(),
        };
        for number in 0..PROCESSES {
            let count = world.any_count();
            let process = world.process(format!("process-{number}"), BTreeMap::new(), count);
            world.processes.push(process);
        }
        world
    }

    fn any_count(&mut self) -> u32 {
        1 + u32::try_from(self.chance.below(3)).unwrap()
    }

    /// What it had in memory is gone.
    fn restart(&mut self, index: usize, count: u32) {
        let before = &self.processes[index];
        let (identity, journals) = (before.identity.clone(), before.journals.clone());
        self.processes[index] = self.process(identity, journals, count);
    }

    fn process(&mut self, identity: String, journals: BTreeMap<Shard, u64>, count: u32) -> Process {
        Process {
            view: View::new(NAME, &identity, count),
            next: Some(Next::Look),
            at: self.now + self.chance.below(5_000),
            held: BTreeMap::new(),
            identity,
            count,
            journals,
        }
    }

    /// One request, or what befalls a process in its stead.
    fn step(&mut self, has_faults: bool) -> Result<(), String> {
        let index = (0..PROCESSES).min_by_key(|index| self.processes[*index].at).unwrap();
        self.now = self.processes[index].at;
        match self.chance.below(300) {
            0 if has_faults => {
                let count = self.any_count();
                self.restart(index, count);
            }
            1..10 if has_faults => self.processes[index].at += self.chance.below(20_000),
            _ => self.act(index),
        }
        self.holds()
    }

    fn act(&mut self, index: usize) {
        let (now, at) = (self.now, self.start + Duration::from_millis(self.now));
        let Self { store, chance, .. } = self;
        let process = &mut self.processes[index];
        if process.held.values().any(|term| now >= term.until) {
            // It ends with its Lease, and is started again.
            let count = process.count;
            self.restart(index, count);
            return;
        }
        let due = process
            .held
            .iter_mut()
            .find(|(_, term)| now + TRUSTED - term.until >= RENEWAL);
        if let Some((shard, term)) = due {
            match store.put(&shard.lease(NAME), Some(&term.lease), &process.identity, 15) {
                Some(lease) => {
                    *term = Term {
                        until: now + TRUSTED,
                        lease,
                    }
                }
                None => term.until = now,
            }
            process.at += chance.below(200);
            return;
        }
        let mut pause = match chance.below(4) {
            0 => chance.below(3_000),
            _ => chance.below(300),
        };
        let next = match process.next.take() {
            None | Some(Next::Look) => {
                process.view.take(store.leases.clone(), at);
                let member = process.view.member();
                let seen = store.leases.get(&member).cloned();
                store.put(&member, seen.as_ref(), &process.identity, 15);
                match process.decides() {
                    Move::Bid(shard) => Next::Bid(process.shard(shard)),
                    Move::Release(shard) => {
                        let shard = process.shard(shard);
                        let term = process.held.remove(&shard).unwrap();
                        store.put(&shard.lease(NAME), Some(&term.lease), &process.identity, 1);
                        Next::Look
                    }
                    Move::Rest => {
                        pause += 1_000;
                        Next::Look
                    }
                }
            }
            Some(Next::Bid(shard)) => {
                let seen = process.view.get(&shard.lease(NAME)).unwrap();
                if seen.standing == Standing::Free || !process.journals.contains_key(&shard) {
                    self.journals += 1;
                    process.journals.insert(shard, self.journals);
                }
                match store.put(&shard.lease(NAME), seen.lease.as_ref(), &process.identity, 15) {
                    Some(lease) => Next::LookAgain(
                        shard,
                        Term {
                            until: now + TRUSTED,
                            lease,
                        },
                    ),
                    None => Next::Look,
                }
            }
            Some(Next::LookAgain(shard, term)) => {
                process.view.take(store.leases.clone(), at);
                match process.is_blocked() && self.flaw != Flaw::NoSecondLook {
                    true => process.steps_back(store, shard, &term),
                    false => {
                        let is_flawed = self.flaw == Flaw::NothingIsTakenAway;
                        let passed = process.view.of_another_count().filter(|_| !is_flawed);
                        let passed = passed.filter_map(|(_, name, seen)| Some((name.clone(), seen.lease.clone()?)));
                        Next::Delete(shard, term, passed.collect())
                    }
                }
            }
            Some(Next::Delete(shard, term, mut passed)) => match passed.pop() {
                Some((name, lease)) if store.delete(&name, &lease) => Next::Delete(shard, term, passed),
                Some(_) => process.steps_back(store, shard, &term),
                None => {
                    process.held.insert(shard, term);
                    *self.served.entry(shard.count).or_default() += 1;
                    Next::Look
                }
            },
        };
        process.next = Some(next);
        process.at += pause;
    }

    /// Nobody may write for an App beside another one, or by a journal that another one has written past.
    fn holds(&mut self) -> Result<(), String> {
        for app in 0..APPS {
            let believers = self.processes.iter().filter_map(|process| {
                let shard = Shard::of("team", &app.to_string(), process.count);
                let term = process.held.get(&shard)?;
                (self.now < term.until).then(|| process.journals[&shard])
            });
            let believers: Vec<u64> = believers.collect();
            if believers.len() > 1 {
                return Err(format!("{believers:?} write for one App after {} ms", self.now));
            }
            let Some(journal) = believers.first() else { continue };
            let before = self.last.insert(app, *journal);
            let is_new = self.ever.insert((app, *journal));
            if !is_new && before != Some(*journal) {
                return Err(format!(
                    "{journal} was written past by {before:?} after {} ms",
                    self.now
                ));
            }
        }
        Ok(())
    }

    /// Nothing goes wrong any more, and all have one count.
    fn settles(&mut self, count: u32) -> Result<(), String> {
        (0..PROCESSES).for_each(|index| self.restart(index, count));
        let end = self.now + 90_000;
        while self.now < end {
            self.step(false)?;
        }
        let loads: Vec<usize> = self.processes.iter().map(|process| process.held.len()).collect();
        let (most, least) = (loads.iter().max().unwrap(), loads.iter().min().unwrap());
        assert!(most - least <= 1, "{loads:?} of {count}");
        assert_eq!(loads.iter().sum::<usize>(), count as usize, "{loads:?}");
        Ok(())
    }
}

impl Process {
    fn shard(&self, index: usize) -> Shard {
        Shard {
            index: u32::try_from(index).unwrap(),
            count: self.count,
        }
    }

    fn is_blocked(&self) -> bool {
        let mut others = self.view.of_another_count();
        others.any(|(_, _, seen)| seen.standing == Standing::Taken)
    }

    fn decides(&self) -> Move {
        if self.is_blocked() {
            return Move::Rest;
        }
        let shards = (0..self.count as usize).map(|index| self.shard(index));
        let holdings: Vec<Holding> = shards
            .map(|shard| match self.held.contains_key(&shard) {
                true => Holding::Mine,
                false => self.view.holding(shard),
            })
            .collect();
        decide(&self.identity, &self.view.members(), &holdings)
    }

    fn steps_back(&self, store: &mut Store, shard: Shard, term: &Term) -> Next {
        store.put(&shard.lease(NAME), Some(&term.lease), &self.identity, 1);
        Next::Look
    }
}

/// A while of faults, and one without.
fn lives(seed: u64, flaw: Flaw, served: &mut BTreeMap<u32, usize>) -> Result<(), String> {
    let mut world = World::new(seed, flaw);
    for _ in 0..2_000 {
        world.step(true)?;
    }
    for count in [3, 1, 2] {
        world.settles(count)?;
    }
    for (count, times) in world.served {
        *served.entry(count).or_default() += times;
    }
    Ok(())
}

#[test]
fn no_two_write_for_one_app_and_none_by_a_journal_that_was_written_past() {
    let mut served = BTreeMap::new();
    for seed in 0..20 {
        lives(seed, Flaw::None, &mut served).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
    let times: Vec<usize> = served.into_values().collect();
    assert!(times.len() == 3 && times.iter().all(|times| *times > 20), "{times:?}");
}

#[test]
fn what_keeps_them_apart_cannot_be_left_out() {
    for flaw in [Flaw::NoSecondLook, Flaw::NothingIsTakenAway] {
        let broken = (0..100).find_map(|seed| lives(seed, flaw, &mut BTreeMap::new()).err());
        assert!(broken.is_some(), "{flaw:?} was not found out");
    }
}
