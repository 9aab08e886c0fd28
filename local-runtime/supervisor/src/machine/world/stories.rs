//! What the tests of this crate say to a world in few words.

use std::time::Duration;

use super::*;
use crate::protocol::{ObjectState, Observed, ServiceStatus};

impl World {
    /// With a network and a volume `data`.
    pub fn new() -> World {
        let mut world = World {
            now: Millis(1_000_000),
            ..World::default()
        };
        for (kind, name) in [("network", "app"), ("volume", "data")] {
            let object = serde_json::json!({"kind": kind, "name": name});
            world.takes(serde_json::from_value(object).unwrap());
        }
        world
    }

    /// What must be admitted, also where it changes nothing.
    pub fn takes(&mut self, object: Object) {
        admit_put(&self.state, &object).expect("the test's object is admitted");
        self.put_admitted(object);
    }

    pub fn takes_delete(&mut self, kind: Kind, name: &str) {
        let name = name.into();
        self.event(Event::Delete { kind, name });
    }

    /// Everything that happens within this time, answered at once.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            if self.follow_routes() {
                continue;
            }
            if let Some(effect) = self.pending.pop_front() {
                self.answer(effect);
            } else if let Some(at) = self.wake_at.filter(|at| *at <= end) {
                self.now = self.now.max(at);
                self.event(Event::Tick);
            } else {
                self.now = end;
                return self.holds();
            }
        }
        panic!("the machine never rests: {:?}", self.state);
    }

    /// Nothing has happened that must not.
    pub fn holds(&self) {
        assert_eq!(self.broken, None);
    }

    /// Words of what was asked for since the last call, without their times.
    pub fn words(&mut self) -> Vec<String> {
        self.told.drain(..).map(|(_, word)| word).collect()
    }

    pub fn observed(&self, kind: Kind, name: &str) -> Option<Observed> {
        let all = observe(&self.state);
        all.into_iter()
            .find(|seen| seen.object.kind() == kind && seen.object.name() == name)
    }

    pub fn state_of(&self, kind: Kind, name: &str) -> ObjectState {
        self.observed(kind, name).expect("the object is there").state
    }

    pub fn service(&self, name: &str) -> ServiceStatus {
        self.observed(Kind::Service, name)
            .and_then(|seen| seen.service)
            .expect("the service is there")
    }

    /// What the state is called when a test asks.
    pub fn verdict(&self, kind: Kind, name: &str) -> String {
        match self.state_of(kind, name) {
            ObjectState::Progressing { .. } => "Progressing".into(),
            ObjectState::Ready => "Ready".into(),
            ObjectState::Failed(failure) => failure.reason,
        }
    }
}
