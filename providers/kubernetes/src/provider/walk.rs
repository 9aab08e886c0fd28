//! Walking a rollout: which of its writes comes next, and the write itself. Each call takes one step, and what it has done is
//! seen before the next one; a call that is broken off half way is made again from what is there.

use std::time::SystemTime;

use portolan_core::manifest::RolloutStrategy;
use portolan_core::observation::{Ownership, ResourceState};
use portolan_core::plan::Scope;
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, WriteRequest};
use serde_json::{Value, json};

use super::{Found, KubernetesCalls};
use crate::client::{Answer, Applied, Created, whole_second};
use crate::explain::Pods;
use crate::kinds::{DEPLOYMENT, HTTP_ROUTE, Kind, POD, SERVICE};
use crate::names::{Names, annotation, label, selector_of};
use crate::read::{self, Read, Seen};
use crate::rollout::{self, Led, Move, Pair, Shares, Stand, Traffic, Way};
use crate::{error, scale, write};

/// A rollout that is under way.
pub(super) struct Rollout {
    pub next: Value,
    pub stand: Stand,
}

/// [`annotation::AT`] as a JSON pointer.
const AT: &str = "/metadata/annotations/portolan.dev~1rollout-at";

/// Where the next is put.
struct Step<'a> {
    at: usize,
    /// Since when it stands there; from now on if nothing is said.
    since: Option<&'a str>,
    /// A token to retry by.
    retry: Option<&'a str>,
}

impl<'a> Step<'a> {
    fn begun(at: usize) -> Self {
        Self {
            at,
            since: None,
            retry: None,
        }
    }

    /// Where it stands already.
    fn again(pair: &Pair<'a>) -> Self {
        Self {
            since: read::note(pair.next, annotation::SINCE),
            ..Self::begun(pair.at())
        }
    }
}

/// Whether `next` stands beside the Deployment of that name, and is ours.
pub(super) fn is_beside(scope: &Scope, own: &str, next: &Value) -> bool {
    let ours = matches!(read::ownership(scope, next), Ownership::Ours { .. });
    ours && rollout::beside(next) == Some(own) && !read::is_deleting(next)
}

/// Both Deployments as the one resource that they are.
pub(super) fn joined<'a>(
    seen: &Seen<'_>,
    own: &Value,
    next: &Value,
    led: impl IntoIterator<Item = (&'static Kind, &'a Value)>,
) -> (Read, Stand) {
    let [first, second] = [own, next].map(|one| seen.read(&DEPLOYMENT, one));
    let pair = Pair { own, next };
    let (state, log) = match pair.is_ending() {
        true => (&first.resource.state, first.log),
        false => (&second.resource.state, second.log),
    };
    let ready_since = Pods::of(seen.pods, next).ready_since();
    let ours = led.into_iter();
    let ours = ours.filter(|(_, object)| matches!(read::ownership(seen.scope, object), Ownership::Ours { .. }));
    let led = Led::by(rollout::name(own), ours);
    let stand = pair.stand(state, ready_since, led, seen.now);
    let resource = pair.joined(first.resource, second.resource, &stand);
    (Read { resource, log }, stand)
}

impl KubernetesCalls {
    /// A Deployment with the one beside it, if there is one.
    pub(super) async fn with_next(&self, scope: &Scope, mut found: Found) -> Result<Found, CallError> {
        let own = rollout::name(&found.object);
        let next = match service_of(&found.object) {
            Some(service) if found.seen.state != ResourceState::Deleting => self.next(scope, own, service).await?,
            _ => None,
        };
        let Some(next) = next else { return Ok(found) };
        let place = self.place(scope);
        let mut led = Vec::new();
        for (kind, name) in led_by(scope, &found.object, &next) {
            led.extend(self.cluster.get(kind, place, &name).await?.map(|object| (kind, object)));
        }
        let led = led.iter().map(|(kind, object)| (*kind, object));
        let pods = self.cluster.list(&POD, place, &selector_of(scope)).await?;
        let seen = Seen {
            scope,
            pods: &pods,
            now: SystemTime::now(),
        };
        let (read, stand) = joined(&seen, &found.object, &next, led);
        found.seen = read.resource;
        found.rollout = Some(Rollout { next, stand });
        Ok(found)
    }

    async fn next(&self, scope: &Scope, own: &str, service: &str) -> Result<Option<Value>, CallError> {
        let name = Names(scope).next(service);
        let next = self.cluster.get(&DEPLOYMENT, self.place(scope), &name).await?;
        Ok(next.filter(|next| is_beside(scope, own, next)))
    }

    /// One write of a rollout; with a token to retry by, fresh pods of the revision that has failed.
    pub(super) async fn walk(
        &self,
        scope: &Scope,
        request: &WriteRequest,
        found: Found,
        retry: Option<&str>,
    ) -> Result<Accepted, CallError> {
        let own = &found.object;
        let wanted = request.revision.as_deref();
        let is_walked = Way::of(&request.body).is_some();
        let served = rollout::served_before(own, None);
        let at_once = !is_walked
            || rollout::revision(own) == wanted
            || !rollout::serves(own)
            || wanted.is_some_and(|wanted| served.iter().any(|one| one == wanted));
        let next = found.rollout.as_ref().map(|rollout| &rollout.next);
        let pair = next.map(|next| Pair { own, next });
        let is_stood_in_for = pair.is_some_and(|pair| pair.is_ending()) && !rollout::stands_alone(own);
        match &found.rollout {
            Some(rollout)
                if is_walked
                    && rollout::revision(&rollout.next) == wanted
                    && !pair.is_some_and(|pair| pair.is_leaving()) =>
            {
                self.go_on(scope, request, own, rollout, retry).await
            }
            // Where the next stands in for the service's own there is nobody else to begin beside, or to go back to.
            Some(rollout) if is_stood_in_for && (at_once || found.seen.failure().is_some()) => {
                self.leave(scope, request, own, &rollout.next, retry).await
            }
            Some(_) if is_stood_in_for => Err(error::still_rolling(&request.id)),
            Some(rollout) if at_once => self.end(scope, request, own, &rollout.next).await,
            None if at_once => self.apply_own(scope, request, own, None, retry).await,
            Some(rollout) => {
                self.lead_home(scope, own, &rollout.next).await?;
                let next = self.unpromoted(scope, &request.id, &rollout.next).await?;
                self.put_next(scope, request, own, Some(&next), Step::begun(0)).await
            }
            None => self.put_next(scope, request, own, None, Step::begun(0)).await,
        }
    }

    async fn go_on(
        &self,
        scope: &Scope,
        request: &WriteRequest,
        own: &Value,
        rollout: &Rollout,
        retry: Option<&str>,
    ) -> Result<Accepted, CallError> {
        let next = &rollout.next;
        let pair = Pair { own, next };
        match &rollout.stand {
            // The service has grown or shrunk meanwhile, which is no reason to stay for longer.
            Stand::Due(Move::Step(at)) if *at == pair.at() => {
                self.put_next(scope, request, own, Some(next), Step::again(&pair)).await
            }
            Stand::Due(Move::Step(at)) => self.put_next(scope, request, own, Some(next), Step::begun(*at)).await,
            Stand::Due(Move::Weigh(weight)) => {
                let traffic = Traffic::Weight(*weight);
                self.lead(scope, &HTTP_ROUTE, rollout::name(own), &traffic).await?;
                // Its pause begins now.
                self.put_next(scope, request, own, Some(next), Step::begun(pair.at()))
                    .await
            }
            Stand::Due(Move::Take) => {
                if Way::of(next).is_some_and(|way| way.strategy == RolloutStrategy::BlueGreen) {
                    self.lead_services(scope, own, rollout::name(next)).await?;
                }
                self.apply_own(scope, request, own, Some(next), None).await
            }
            // Whoever asks is brought here before there is nobody there.
            Stand::Due(Move::Home) => self.lead_home(scope, own, next).await.map(|()| Accepted::done()),
            Stand::Due(Move::End) => self.end(scope, request, own, next).await,
            Stand::Starting | Stand::Resting { .. } if pair.is_ending() => {
                self.apply_own(scope, request, own, Some(next), retry).await
            }
            Stand::Starting | Stand::Resting { .. } => {
                let step = Step {
                    retry,
                    ..Step::again(&pair)
                };
                let own = self.resized(scope, request, own).await?;
                self.put_next(scope, request, &own, Some(next), step).await
            }
        }
    }

    /// Without the word that was said of another revision.
    async fn unpromoted(&self, scope: &Scope, id: &ResourceId, next: &Value) -> Result<Value, CallError> {
        if read::note(next, annotation::PROMOTED).is_none() {
            return Ok(next.clone());
        }
        let patch = write::annotated(next, annotation::PROMOTED, None);
        let place = self.place(scope);
        match self
            .cluster
            .annotate(&DEPLOYMENT, place, rollout::name(next), patch)
            .await?
        {
            Answer::Done(next) => Ok(next),
            Answer::Moved | Answer::Gone => Err(error::moved(id)),
        }
    }

    /// As many replicas as are wanted, where that is nobody else's number: of a rollout under way too.
    async fn resized(&self, scope: &Scope, request: &WriteRequest, own: &Value) -> Result<Value, CallError> {
        let wanted = &request.body["spec"]["replicas"];
        if scale::is_free(&request.body, own) || *wanted == own["spec"]["replicas"] {
            return Ok(own.clone());
        }
        let patch = write::replaced(own, "/spec/replicas", wanted);
        let (place, name) = (self.place(scope), rollout::name(own));
        match self.cluster.adopt(&DEPLOYMENT, place, name, patch).await? {
            Answer::Done(own) => Ok(own),
            Answer::Moved | Answer::Gone => Err(error::moved(&request.id)),
        }
    }

    /// The service's own takes what is wanted, and the next, which nobody wants any more, stands in until it has.
    async fn leave(
        &self,
        scope: &Scope,
        request: &WriteRequest,
        own: &Value,
        next: &Value,
        retry: Option<&str>,
    ) -> Result<Accepted, CallError> {
        if !(Pair { own, next }).is_leaving() {
            let patch = write::replaced(next, AT, &json!(rollout::LEAVING));
            let (place, name) = (self.place(scope), rollout::name(next));
            match self.cluster.adopt(&DEPLOYMENT, place, name, patch).await? {
                Answer::Done(_) => {}
                Answer::Moved | Answer::Gone => return Err(error::moved(&request.id)),
            }
        }
        self.apply_own(scope, request, own, Some(next), retry).await
    }

    /// The service's own has what is wanted, and every connection; the next goes.
    async fn end(
        &self,
        scope: &Scope,
        request: &WriteRequest,
        own: &Value,
        next: &Value,
    ) -> Result<Accepted, CallError> {
        self.lead_home(scope, own, next).await?;
        self.apply_own(scope, request, own, None, None).await?;
        self.delete_next(scope, &request.id, next).await
    }

    pub(super) async fn delete_next(
        &self,
        scope: &Scope,
        id: &ResourceId,
        next: &Value,
    ) -> Result<Accepted, CallError> {
        match self.cluster.delete(&DEPLOYMENT, self.place(scope), next).await? {
            Answer::Done(_) | Answer::Gone => Ok(Accepted::done()),
            Answer::Moved => Err(error::moved(id)),
        }
    }

    /// While the next stands in for as many of its replicas, that many may be replaced at a time, and none is started beside
    /// them: a node that has room for both has room for this.
    async fn apply_own(
        &self,
        scope: &Scope,
        request: &WriteRequest,
        own: &Value,
        beside: Option<&Value>,
        retry: Option<&str>,
    ) -> Result<Accepted, CallError> {
        let mut request = request.clone();
        if Way::of(&request.body).is_some() {
            let served = rollout::served_before(own, request.revision.as_deref());
            request.body["metadata"]["annotations"][annotation::SERVED] = json!(served.join(" "));
        }
        if let Some(stand_in) = beside.and_then(|next| Pair { own, next }.stand_in()) {
            let rolling = json!({ "maxUnavailable": stand_in, "maxSurge": 0 });
            request.body["spec"]["strategy"]["rollingUpdate"] = rolling;
        }
        self.apply(scope, &DEPLOYMENT, &request, own.clone(), retry).await
    }

    /// What is wanted, under the name of the next, at a step.
    async fn put_next(
        &self,
        scope: &Scope,
        request: &WriteRequest,
        own: &Value,
        next: Option<&Value>,
        step: Step<'_>,
    ) -> Result<Accepted, CallError> {
        let Some(service) = service_of(own) else {
            return Err(error::bug(format!("{} stands for no service", request.id)));
        };
        let place = self.place(scope);
        let all = Pair { own, next: own }.all();
        let name = Names(scope).next(service);
        let rendered = write::object_of(scope, place, request)?;
        let since = step.since.map(String::from);
        let since = since.unwrap_or_else(|| whole_second(SystemTime::now()).to_string());
        let object = rollout::next_of(rendered, &name, step.at, all, &since);
        let Some(next) = next else {
            return match self.cluster.create(&DEPLOYMENT, place, &object).await? {
                Created::Made(_) => Ok(Accepted::done()),
                Created::IsThere => Err(match self.cluster.get(&DEPLOYMENT, place, &name).await? {
                    Some(there) if !is_beside(scope, rollout::name(own), &there) && !read::is_deleting(&there) => {
                        error::not_ours(&DEPLOYMENT.id(name))
                    }
                    _ => error::still_going(&DEPLOYMENT.id(name)),
                }),
            };
        };
        let same = rollout::revision(next) == request.revision.as_deref();
        let least = if same { read::number(next, "/spec/replicas") } else { 0 };
        let replicas = json!(read::number(&object, "/spec/replicas").max(least));
        let live = self.adopted(scope, &DEPLOYMENT, &request.id, next.clone()).await?;
        let mut object = write::applied_over(&live, object, step.retry);
        object["spec"]["replicas"] = replicas;
        match self
            .cluster
            .apply(&DEPLOYMENT, place, &object, request.take_over)
            .await?
        {
            Applied::Done(_) => Ok(Accepted::done()),
            Applied::Held(managers) => Err(error::held_by_others(&request.id, managers)),
            Applied::Moved => Err(error::moved(&request.id)),
        }
    }

    /// Every connection goes to the service's own pods again.
    async fn lead_home(&self, scope: &Scope, own: &Value, next: &Value) -> Result<(), CallError> {
        let Some(way) = Way::of(next) else { return Ok(()) };
        match (way.strategy, way.shares) {
            (RolloutStrategy::BlueGreen, _) => self.lead_services(scope, own, rollout::name(own)).await,
            (_, Shares::Weights) => {
                let home = Traffic::Weight(0);
                self.lead(scope, &HTTP_ROUTE, rollout::name(own), &home).await
            }
            _ => Ok(()),
        }
    }

    async fn lead_services(&self, scope: &Scope, own: &Value, to: &str) -> Result<(), CallError> {
        let traffic = Traffic::To(to.to_string());
        for name in kube_services(scope, own) {
            self.lead(scope, &SERVICE, &name, &traffic).await?;
        }
        Ok(())
    }

    /// What is not there, or is not led by rollouts, is left alone.
    async fn lead(&self, scope: &Scope, kind: &'static Kind, name: &str, traffic: &Traffic) -> Result<(), CallError> {
        let place = self.place(scope);
        let Some(live) = self.cluster.get(kind, place, name).await? else {
            return Ok(());
        };
        let ours = matches!(read::ownership(scope, &live), Ownership::Ours { .. });
        let is_there = rollout::leads(kind, &live).as_ref() == Some(traffic);
        if !ours || !rollout::is_led(kind, &live) || is_there {
            return Ok(());
        }
        match self.cluster.adopt(kind, place, name, traffic.patch(&live)).await? {
            Answer::Done(_) => Ok(()),
            Answer::Moved | Answer::Gone => Err(error::moved(&kind.id(name))),
        }
    }

    /// What is made anew in the midst of a rollout leads to those who stand in for what is being replaced.
    pub(super) async fn led_from_the_first(
        &self,
        scope: &Scope,
        kind: &'static Kind,
        mut object: Value,
    ) -> Result<Value, CallError> {
        let labels = &object["metadata"]["labels"];
        if rollout::is_led(kind, &object)
            && let (Some(own), Some(service)) = (labels[label::INSTANCE].as_str(), labels[label::NAME].as_str())
            && let Some(next) = self.next(scope, own, service).await?
            && let Some(own) = self.cluster.get(&DEPLOYMENT, self.place(scope), own).await?
            && let Some(traffic) = (Pair { own: &own, next: &next }).leads_meanwhile(kind)
        {
            traffic.lead(&mut object);
        }
        Ok(object)
    }

    /// What is written over an object that a rollout leads stays led there for as long as the rollout is under way.
    pub(super) async fn stays_led(
        &self,
        scope: &Scope,
        kind: &'static Kind,
        live: &Value,
        mut object: Value,
    ) -> Result<Value, CallError> {
        let labels = &object["metadata"]["labels"];
        let (own, service) = (labels[label::INSTANCE].as_str(), labels[label::NAME].as_str());
        if rollout::is_led(kind, &object)
            && let (Some(own), Some(service)) = (own, service)
            && self.next(scope, own, service).await?.is_some()
            && let Some(traffic) = rollout::leads(kind, live)
        {
            traffic.lead(&mut object);
        }
        Ok(object)
    }
}

/// What brings a service its connections, where its rollout says to whom.
fn led_by(scope: &Scope, own: &Value, next: &Value) -> Vec<(&'static Kind, String)> {
    match Way::of(next) {
        Some(way) if way.strategy == RolloutStrategy::BlueGreen => kube_services(scope, own)
            .into_iter()
            .map(|name| (&SERVICE, name))
            .collect(),
        Some(way) if way.shares == Shares::Weights => vec![(&HTTP_ROUTE, rollout::name(own).to_string())],
        _ => Vec::new(),
    }
}

fn kube_services(scope: &Scope, own: &Value) -> Vec<String> {
    let public = service_of(own).map(|service| Names(scope).public(service));
    [Some(rollout::name(own).to_string()), public]
        .into_iter()
        .flatten()
        .collect()
}

/// The service whose Deployment it is.
fn service_of(deployment: &Value) -> Option<&str> {
    deployment["metadata"]["labels"].get(label::NAME)?.as_str()
}
