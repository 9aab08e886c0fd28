//! What an annotation says of a rollout that pauses: it is for the targets that are in the very pause that it names, and
//! where none is, somebody is told so.

use portolan_engine::journal::{AppKey, Order, Promoted};
use serde_json::Value;

use super::{Asked, KeptApp, LAST_PROMOTE};
use crate::object::PROMOTE;
use crate::slot::Slot;
use crate::told::News;

/// A promotion that is for nobody.
pub struct Outdated {
    pub said: String,
    pub target: String,
    pub news: News,
}

impl KeptApp {
    pub(super) fn promoted(&self) -> Option<Asked> {
        let (said, promoted) = self.unheard_promotion()?;
        let keys: Vec<AppKey> = self.those_in(&promoted.pause).collect();
        (!keys.is_empty()).then(|| Asked {
            annotation: PROMOTE,
            said: said.to_string(),
            order: Order::Promote(promoted),
            keys,
        })
    }

    /// Where something goes on nobody can tell yet.
    pub fn outdated_promotion(&self) -> Option<Outdated> {
        let (said, promoted) = self.unheard_promotion()?;
        let may_pause = |slot: &Slot| {
            slot.told
                .as_ref()
                .is_none_or(|told| told.reconciling.is && told.promotion.is_none())
        };
        let is_open = self.slots.values().any(|slot| may_pause(slot));
        if self.is_suspended() || is_open || self.those_in(&promoted.pause).next().is_some() {
            return None;
        }
        let promotion = |slot: &Slot| slot.told.as_ref()?.promotion.clone();
        let paused = self
            .slots
            .iter()
            .find_map(|(target, slot)| Some((target, promotion(slot)?)));
        let (target, instead) = match paused {
            Some((target, pause)) => (target, format!("; what waits there is {pause}")),
            None => (self.slots.keys().next()?, String::new()),
        };
        Some(Outdated {
            said: said.to_string(),
            target: target.clone(),
            news: News {
                reason: "NotPaused".into(),
                note: format!("{PROMOTE}={said} is of no pause that there is{instead}"),
                is_warning: true,
            },
        })
    }

    /// What was looked at last. It is on record once the pause is over: whoever takes over before that looks at it again.
    pub(super) fn handled_promotion<'a>(&'a self, before: &'a Value) -> Option<&'a str> {
        let is_over = |said: &&String| self.those_in(&named(said).pause).next().is_none();
        let obeyed = self.obeyed.get(PROMOTE).filter(is_over).map(String::as_str);
        obeyed.or_else(|| before[LAST_PROMOTE].as_str())
    }

    fn unheard_promotion(&self) -> Option<(&str, Promoted)> {
        let said = self.unheard(PROMOTE).map(String::as_str);
        said.filter(|said| self.head.status()[LAST_PROMOTE] != *said)
            .map(|said| (said, named(said)))
    }

    fn those_in(&self, pause: &str) -> impl Iterator<Item = AppKey> {
        let is_in = move |slot: &&Slot| {
            slot.told
                .as_ref()
                .is_some_and(|told| told.promotion.as_deref() == Some(pause))
        };
        let slots = self.slots.values().map(|slot| &**slot);
        let ways = slots.filter(is_in).filter_map(|slot| slot.way.as_ref());
        ways.map(|way| way.work.key())
    }
}

fn named(said: &str) -> Promoted {
    let full = said.strip_suffix("/full");
    Promoted {
        pause: full.unwrap_or(said).to_string(),
        full: full.is_some(),
    }
}
