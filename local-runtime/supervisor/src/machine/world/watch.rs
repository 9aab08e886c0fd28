//! What must hold from one step to the next, whatever has happened.

use crate::machine::{Event, Service, State, routes};
use crate::spec::Strategy;

/// What a step is compared with.
pub struct Before {
    /// How many replicas of each service were ready; empty where the event itself may take one out of the balance.
    ready: Vec<(String, usize)>,
}

impl Before {
    pub fn of(state: &State, event: &Event) -> Self {
        let harmful = matches!(
            event,
            Event::StartFailed { .. }
                | Event::Exited { .. }
                | Event::Probed { .. }
                | Event::Resumed { .. }
                | Event::Rebooted
        );
        let services = state.services.iter().filter(|_| !harmful);
        Self {
            ready: services.map(|(name, service)| (name.clone(), ready(service))).collect(),
        }
    }

    /// What does not hold after the step.
    pub fn broken_by(&self, state: &State) -> Option<String> {
        self.fewer_ready(state).or_else(|| shares_that_are_not_whole(state))
    }

    /// A step by itself never leaves fewer ready replicas than there are wanted, unless they are to stop first.
    fn fewer_ready(&self, state: &State) -> Option<String> {
        self.ready.iter().find_map(|(name, before)| {
            let service = state.services.get(name).filter(|service| !service.deleting)?;
            let wanted = service.spec.replicas as usize;
            let now = ready(service);
            let stops_first = service.spec.rollout.strategy == Strategy::Recreate;
            (!stops_first && now < (*before).min(wanted))
                .then(|| format!("{before} of {wanted} replicas of {name} were ready, and {now} are"))
        })
    }
}

fn ready(service: &Service) -> usize {
    service.count(|pod| pod.ready)
}

/// While two revisions stand beside each other their shares make a whole, and the new one wants no more than all replicas.
fn shares_that_are_not_whole(state: &State) -> Option<String> {
    let shared = |service: &&Service| !service.deleting && service.shares().is_some();
    let any = state.services.values().any(|service| shared(&service));
    let routes = if any { routes(state) } else { return None };
    state.services.values().filter(shared).find_map(|service| {
        let shares = service.shares()?;
        let route = routes.iter().find(|route| route.service == service.spec.name)?;
        let weights: u32 = route.groups.iter().map(|group| group.weight).sum();
        let whole = weights == 100 && shares.new_replicas <= service.spec.replicas as usize;
        (!whole).then(|| format!("{shares:?} of {} make {weights}%", service.spec.name))
    })
}
