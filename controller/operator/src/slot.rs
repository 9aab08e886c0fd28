//! What is done about an App on one target, and what that was made from. Pure.

use std::path::PathBuf;
use std::sync::Arc;

use portolan_core::manifest::{App, Target};
use portolan_core::plan::PlanOptions;
use portolan_engine::{Wish, Work};
use portolan_provider_api::Provider;

use crate::intent::{self, Refusal};
use crate::object::{AppName, ORPHAN};
use crate::told::Told;

/// A Target that there is, and the way to it.
pub type Harbour = Result<(Arc<Target>, Provider), Vec<Refusal>>;

pub struct Slot {
    /// None where there is no way to the target.
    pub way: Option<Way>,
    pub told: Option<Told>,
}

/// The work there, and what it was made from.
pub struct Way {
    wanted: Wanted,
    target: Arc<Target>,
    pub provider: Provider,
    pub work: Arc<Work>,
}

/// What an App is to be on a target.
#[derive(Clone)]
pub enum Wanted {
    Kept(Arc<App>),
    Deleted,
}

/// Which App on which target.
pub struct Place<'a> {
    pub app: &'a AppName,
    /// Whether the App itself is to go.
    pub is_deleted: bool,
    pub target: &'a str,
    pub harbour: Option<&'a Harbour>,
}

impl Slot {
    pub fn is_gone(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.is_gone)
    }
}

impl Place<'_> {
    /// The old one, with what was told of it, where the work is still the one for this.
    pub fn slot(&self, wanted: Wanted, old: Option<Slot>) -> Slot {
        let (found, provider) = match self.harbour {
            Some(Ok((found, provider))) => (found, provider),
            Some(Err(refusals)) => return self.unreachable(refusals.clone()),
            None => {
                return self.unreachable(vec![Refusal {
                    code: "UnknownTarget".into(),
                    message: format!("no Target is called `{}`", self.target),
                }]);
            }
        };
        let known = old.and_then(|old| Some((old.way?, old.told)));
        let (work, told) = match known.filter(|(way, _)| way.leads_to(&wanted, found)) {
            Some((way, told)) => (way.work, told),
            None => (Arc::new(self.work(&wanted, found)), None),
        };
        let way = Way {
            wanted,
            target: found.clone(),
            provider: provider.clone(),
            work,
        };
        Slot { way: Some(way), told }
    }

    fn work(&self, wanted: &Wanted, target: &Arc<Target>) -> Work {
        let (app, wish) = match wanted {
            Wanted::Kept(app) => (app.clone(), Wish::Keep),
            Wanted::Deleted => (
                Arc::new(intent::nothing_of(self.app, self.target)),
                Wish::Delete { erase_data: false },
            ),
        };
        let mut work = Work::keep(app, target.clone(), PathBuf::new());
        work.source = self.app.source();
        work.wish = wish;
        if work.is_delete() {
            work.options = PlanOptions {
                retry: true,
                ..PlanOptions::default()
            };
        }
        work
    }

    fn unreachable(&self, mut refusals: Vec<Refusal>) -> Slot {
        if self.is_deleted {
            let way_out = "what is left there cannot be deleted; hint: bring the Target back, or let the App go with `kubectl annotate app";
            for refusal in &mut refusals {
                let (namespace, name) = (&self.app.namespace, &self.app.name);
                refusal.message = format!("{}: {way_out} -n {namespace} {name} {ORPHAN}=true`", refusal.message);
            }
        }
        Slot {
            way: None,
            told: Some(Told::refused(&refusals)),
        }
    }
}

impl Way {
    /// Whether the work is the one for this.
    fn leads_to(&self, wanted: &Wanted, target: &Arc<Target>) -> bool {
        let is_wanted = match (&self.wanted, wanted) {
            (Wanted::Kept(one), Wanted::Kept(other)) => is_same(one, other),
            (Wanted::Deleted, Wanted::Deleted) => true,
            _ => false,
        };
        is_wanted && is_same(&self.target, target)
    }
}

/// Most of the time nothing has changed, and manifests are large.
fn is_same<T: PartialEq>(one: &Arc<T>, other: &Arc<T>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}
