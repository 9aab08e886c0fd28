//! The shortest scenario that still fails: faults, outside events, versions and apps are left out as long as it does.

use super::invariants::Broken;
use super::run;
use super::scenario::{Faults, Scenario};
use super::stand::Stands;
use super::world::Run;

/// The failing scenario with everything left out that it does not need.
pub fn shortest(scenario: &Scenario, failed: &Run, stands: &Stands) -> Scenario {
    let invariant = failed.broken.as_ref().map(|broken| broken.invariant);
    let fails = |scenario: &Scenario| {
        let broken: Option<Broken> = run(scenario, stands).broken;
        broken.is_some_and(|broken| Some(broken.invariant) == invariant)
    };
    let mut best = Scenario {
        faults: Faults::Listed(failed.met.clone()),
        ..scenario.clone()
    };
    if !fails(&best) {
        return scenario.clone();
    }
    while let Some(shorter) = shorter(&best).into_iter().find(|candidate| fails(candidate)) {
        best = shorter;
    }
    best
}

/// Each scenario that lacks one thing.
fn shorter(scenario: &Scenario) -> Vec<Scenario> {
    let faults = match &scenario.faults {
        Faults::Listed(faults) => faults.len(),
        Faults::Random { .. } => 0,
    };
    let without_fault = (0..faults).map(|nth| {
        let mut scenario = scenario.clone();
        if let Faults::Listed(faults) = &mut scenario.faults {
            faults.remove(nth);
        }
        scenario
    });
    let without_event = (0..scenario.outside.len()).map(|nth| {
        let mut scenario = scenario.clone();
        scenario.outside.remove(nth);
        scenario
    });
    let last = scenario.scripts.len() - 1;
    let without_app = (last > 0).then(|| {
        let mut scenario = scenario.clone();
        scenario.scripts.truncate(last);
        scenario.outside.retain(|(_, event)| !event.is_about(last));
        scenario
    });
    let without_version = scenario.scripts.iter().enumerate().flat_map(|(app, script)| {
        (0..script.len()).filter(|_| script.len() > 1).map(move |nth| {
            let mut scenario = scenario.clone();
            scenario.scripts[app].remove(nth);
            scenario
        })
    });
    let smaller = without_app.into_iter().chain(without_event).chain(without_fault);
    smaller.chain(without_version).collect()
}
