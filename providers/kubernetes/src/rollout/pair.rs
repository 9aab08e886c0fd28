//! Two Deployments of one service: where its rollout stands, and how both are one resource.

use std::time::{Duration, SystemTime};

use portolan_core::manifest::RolloutStrategy;
use portolan_core::observation::{ObservedResource, Pause, Replicas, ResourceState};
use serde_json::{Value, json};

use super::{ARRIVED, LEAVING, Led, Shares, Traffic, Way};
use crate::kinds::{HTTP_ROUTE, Kind, SERVICE};
use crate::names::{annotation, hash_of_text, label};
use crate::read::{note, number, text, time_of};

/// So many revisions are remembered: going back to one of them takes no steps.
const REMEMBERED: usize = 10;

/// A service's own Deployment, and the next.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub own: &'a Value,
    pub next: &'a Value,
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// As the pods of the new revision are.
    Starting,
    Resting {
        pause: Pause,
        message: String,
    },
    Due(Move),
}

/// What a rollout goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// The next gets the replicas of that step.
    Step(usize),
    /// The next gets that share of what a route brings, in percent.
    Weigh(u8),
    /// The service's own takes the revision.
    Take,
    /// It has taken it, and gets every connection.
    Home,
    /// The next, to which none goes, is taken away.
    End,
}

impl Pair<'_> {
    /// Whether the service's own has what is wanted already, and the next only stands in for it.
    pub fn is_ending(&self) -> bool {
        revision(self.own) == revision(self.next) || self.is_leaving()
    }

    /// Whether it is so because the next is not wanted any more.
    pub fn is_leaving(&self) -> bool {
        note(self.next, annotation::AT) == Some(LEAVING)
    }

    /// `now` is compared with what the API server and this program have written.
    pub fn stand(&self, state: &ResourceState, ready_since: Option<&str>, led: Led, now: SystemTime) -> Stand {
        if *state != ResourceState::Ready {
            return Stand::Starting;
        }
        if self.is_ending() {
            return Stand::Due(if led.is_away { Move::Home } else { Move::End });
        }
        let Some(way) = Way::of(self.next) else {
            return Stand::Due(Move::Take);
        };
        let at = self.at();
        // It never shrinks: what scales the service's own sees only what is left to it.
        if number(self.next, "/spec/replicas") < way.replicas(at, self.all()) {
            return Stand::Due(Move::Step(at));
        }
        let Some(step) = way.steps.get(at) else {
            return Stand::Due(Move::Take);
        };
        if way.shares == Shares::Weights && led.weight.is_some_and(|weight| weight != step.weight) {
            return Stand::Due(Move::Weigh(step.weight));
        }
        let promoted = self.promoted();
        let since = [note(self.next, annotation::SINCE), ready_since];
        let since = since.into_iter().flatten().filter_map(time_of).max();
        let rests = match step.pause {
            _ if promoted.is_some_and(|to| to >= at) => None,
            None => Some(Pause::Promotion),
            Some(seconds) => {
                // Times are written in whole seconds, rounded down.
                let until = since.unwrap_or(now) + Duration::from_secs(seconds + 1);
                (until > now).then_some(Pause::Time)
            }
        };
        match rests {
            Some(pause) => Stand::Resting {
                pause,
                message: self.share(&way, at),
            },
            None if promoted == Some(usize::MAX) || at + 1 >= way.steps.len() => Stand::Due(Move::Take),
            None => Stand::Due(Move::Step(at + 1)),
        }
    }

    fn share(&self, way: &Way, at: usize) -> String {
        let step = format!("step {} of {}", at + 1, way.steps.len());
        match (way.strategy, way.shares) {
            (RolloutStrategy::BlueGreen, _) => {
                "the new revision waits beside the old one, with no connection".to_string()
            }
            (_, Shares::Weights) => {
                let weight = way.steps.get(at).map_or(0, |step| step.weight);
                format!("{step}: {weight}% of the route's connections go to the new revision")
            }
            (_, Shares::Replicas) => {
                let new = number(self.next, "/spec/replicas");
                format!("{step}: {new} of {} replicas are of the new revision", new + self.all())
            }
        }
    }

    /// Where an object of that kind leads while the service's own takes what the next has.
    pub fn leads_meanwhile(&self, kind: &Kind) -> Option<Traffic> {
        let way = Way::of(self.next).filter(|_| self.is_ending())?;
        match way.strategy {
            RolloutStrategy::BlueGreen if kind == &SERVICE => Some(Traffic::To(name(self.next).to_string())),
            RolloutStrategy::Canary if kind == &HTTP_ROUTE && way.shares == Shares::Weights => {
                way.steps.get(self.at()).map(|step| Traffic::Weight(step.weight))
            }
            _ => None,
        }
    }

    /// For how many replicas of the service's own the next stands in, by what it is given of the connections.
    pub fn stand_in(&self) -> Option<u32> {
        let next = number(self.next, "/spec/replicas");
        let way = Way::of(self.next).filter(|way| way.shares == Shares::Weights);
        let weight = way
            .as_ref()
            .map(|way| way.steps.get(self.at()).map_or(0, |step| step.weight));
        let share = weight.map_or(next, |weight| next.min(self.all() * u32::from(weight) / 100));
        (share > 0).then_some(share)
    }

    /// As many as the service has where none is walked.
    pub fn all(&self) -> u32 {
        number(self.own, "/spec/replicas")
    }

    /// The step that it has been brought to.
    pub fn at(&self) -> usize {
        note(self.next, annotation::AT)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// Up to which step somebody has promoted this very revision.
    fn promoted(&self) -> Option<usize> {
        let (of, to) = note(self.next, annotation::PROMOTED)?.split_once('/')?;
        let same = revision(self.next) == Some(of);
        same.then(|| {
            if to == "full" {
                Some(usize::MAX)
            } else {
                to.parse().ok()
            }
        })?
    }

    /// What [`annotation::PROMOTED`] says for a promotion from where it is.
    pub fn promotion(&self, full: bool) -> String {
        let to = if full {
            "full".to_string()
        } else {
            self.at().to_string()
        };
        format!("{}/{to}", revision(self.next).unwrap_or_default())
    }

    /// Both as one: under the name of the service's own, in the revision of the next. Where it goes on with the next write it
    /// differs from what was rendered by how far it has come, and by nothing else.
    pub fn joined(&self, own: ObservedResource, next: ObservedResource, stand: &Stand) -> ObservedResource {
        let [first, second] = [&own, &next].map(|one| one.etag.clone().unwrap_or_default());
        let ending = self.is_ending();
        let mut body = match ending {
            true => {
                // The next stands in for replicas that are replaced meanwhile.
                let mut body = own.body;
                body["spec"]["strategy"] = self.next["spec"]["strategy"].clone();
                body
            }
            false => self.body_of_own(next.body),
        };
        body["metadata"]["annotations"][annotation::AT] = json!(self.told(stand));
        let mut depends_on = [own.depends_on, next.depends_on].concat();
        depends_on.sort();
        depends_on.dedup();
        ObservedResource {
            id: own.id,
            native_id: own.native_id,
            etag: Some(hash_of_text("pair", &format!("{first} {second}"))),
            body,
            ownership: if ending { own.ownership } else { next.ownership },
            state: self.state(stand, if ending { own.state } else { next.state }),
            revision: if ending { own.revision } else { next.revision },
            depends_on,
            replicas: own.replicas.zip(next.replicas).map(|(own, next)| counted(own, next)),
            ..next
        }
    }

    fn state(&self, stand: &Stand, pods: ResourceState) -> ResourceState {
        let step = u32::try_from(self.at() + 1).ok();
        match stand {
            Stand::Starting => pods,
            Stand::Resting { pause, message } => ResourceState::Progressing {
                message: message.clone(),
                paused: Some(*pause),
                step,
            },
            Stand::Due(_) => ResourceState::Progressing {
                message: format!("{}: it goes on", self.told(stand)),
                paused: Some(Pause::Over),
                step,
            },
        }
    }

    fn told(&self, stand: &Stand) -> String {
        let Stand::Due(due) = stand else {
            return ARRIVED.to_string();
        };
        let steps = Way::of(self.next).map_or(0, |way| way.steps.len());
        match due {
            Move::Home => "all replicas are of the new revision, not yet led to".to_string(),
            Move::End => "all replicas are of the new revision".to_string(),
            Move::Weigh(weight) => format!("step {} of {steps}, not yet {weight}%", self.at() + 1),
            Move::Step(_) | Move::Take if steps == 0 => "all new replicas are ready".to_string(),
            Move::Step(_) | Move::Take => format!("step {} of {steps}", self.at() + 1),
        }
    }

    /// As if the next stood in the place of the service's own.
    fn body_of_own(&self, mut body: Value) -> Value {
        let own = self.own;
        body["spec"]["replicas"] = own["spec"]["replicas"].clone();
        body["spec"]["selector"] = own["spec"]["selector"].clone();
        let instance = &own["metadata"]["labels"][label::INSTANCE];
        body["metadata"]["labels"][label::INSTANCE] = instance.clone();
        body["spec"]["template"]["metadata"]["labels"][label::INSTANCE] = instance.clone();
        body
    }
}

fn counted(own: Replicas, next: Replicas) -> Replicas {
    Replicas {
        wanted: own.wanted,
        ready: own.wanted.min(own.ready + next.ready),
        updated: next.updated,
        restarts: own.restarts + next.restarts,
    }
}

pub fn revision(deployment: &Value) -> Option<&str> {
    deployment["metadata"]["labels"].get(label::REVISION)?.as_str()
}

/// The Deployment of a new revision at a step: what was rendered, under the name of the next.
pub fn next_of(mut rendered: Value, name: &str, at: usize, all: u32, now: &str) -> Value {
    let way = Way::of(&rendered);
    let metadata = &mut rendered["metadata"];
    let own = metadata["name"].take();
    metadata["name"] = json!(name);
    metadata["labels"][label::INSTANCE] = json!(name);
    metadata["annotations"][annotation::BESIDE] = own;
    metadata["annotations"][annotation::AT] = json!(at.to_string());
    metadata["annotations"][annotation::SINCE] = json!(now);
    let spec = &mut rendered["spec"];
    spec["replicas"] = json!(way.map_or(all, |way| way.replicas(at, all)));
    spec["selector"]["matchLabels"][label::INSTANCE] = json!(name);
    spec["template"]["metadata"]["labels"][label::INSTANCE] = json!(name);
    rendered
}

/// The revisions that have served everybody, once `wanted` is written over `own`: what it comes back from is forgotten.
pub fn served_before(own: &Value, wanted: Option<&str>) -> Vec<String> {
    let known = note(own, annotation::SERVED).unwrap_or_default();
    let mut served: Vec<String> = known
        .split(' ')
        .filter(|one| !one.is_empty())
        .map(String::from)
        .collect();
    let current = revision(own);
    if let Some(place) = served
        .iter()
        .position(|one| wanted != current && Some(one.as_str()) == wanted)
    {
        served.truncate(place);
        return served;
    }
    let is_known = served.iter().any(|one| Some(one.as_str()) == current);
    let all = number(own, "/spec/replicas");
    let count = |field: &str| number(own, &format!("/status/{field}"));
    let is_complete = all > 0 && count("updatedReplicas") >= all && count("availableReplicas") >= all;
    served.extend(current.filter(|_| is_complete && !is_known).map(String::from));
    let first = served.len().saturating_sub(REMEMBERED);
    served.split_off(first)
}

/// Whose place it takes.
pub fn beside(deployment: &Value) -> Option<&str> {
    note(deployment, annotation::BESIDE)
}

/// Whether somebody would notice if it were gone.
pub fn serves(own: &Value) -> bool {
    number(own, "/status/availableReplicas") > 0
}

/// Whether it serves with all of its replicas, and none is about to end: nobody has to stand in for it.
pub fn stands_alone(own: &Value) -> bool {
    let is_seen = number(own, "/status/observedGeneration") >= number(own, "/metadata/generation");
    let all = number(own, "/spec/replicas");
    let count = |field: &str| number(own, &format!("/status/{field}"));
    is_seen && count("updatedReplicas") == all && count("replicas") == all && count("availableReplicas") >= all
}

/// As `kubectl` shows it.
pub fn name(deployment: &Value) -> &str {
    text(deployment, "/metadata/name").unwrap_or_default()
}
