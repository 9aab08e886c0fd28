//! I6 to the last object: a run in which things go wrong makes and deletes what the run without them does, and what the
//! faults themselves add.

use std::collections::{BTreeMap, BTreeSet};

use portolan_core::resource::ResourceId;

use super::invariants::Broken;
use super::scenario::{Scenario, Start};
use super::world::Run;

/// Whether the two can be compared at all: what is interrupted has come as far as it has, which is another matter each time,
/// and so is what is moved, or changed by hand while it is being made.
pub fn is_comparable(scenario: &Scenario) -> bool {
    let mut starts = scenario.scripts.iter().flatten().map(|(start, _)| start);
    starts.all(|start| matches!(start, Start::After(_))) && scenario.accounts == 1
}

/// How the run differs from the one without faults. A generation that failed in one of them alone adds its own, which is not
/// counted here.
pub fn difference(plain: &Run, run: &Run) -> Option<Broken> {
    if plain.held != run.held {
        return None;
    }
    let tallies = [plain, run]
        .into_iter()
        .flat_map(|run| [&run.tally.made, &run.tally.deleted]);
    let ids: BTreeSet<&ResourceId> = tallies.flat_map(BTreeMap::keys).collect();
    ids.into_iter().find_map(|id| difference_of(id, plain, run))
}

/// What failed after it was taken, or was removed by hand, is made once more, unless it is not wanted any more by then: it
/// needs no delete then either.
fn difference_of(id: &ResourceId, plain: &Run, run: &Run) -> Option<Broken> {
    let lost = |run: &Run| of(&run.tally.failed_late, id) + of(&run.removed, id);
    let lost = lost(run) - lost(plain);
    let more_made = of(&run.tally.made, id) - of(&plain.tally.made, id);
    let more_deleted = of(&run.tally.deleted, id) - of(&plain.tally.deleted, id);
    let is_explained = (lost.min(0)..=lost.max(0)).contains(&more_made) && more_made - more_deleted == lost;
    (!is_explained).then(|| Broken {
        invariant: "I6",
        because: format!(
            "{id} was made {more_made} and deleted {more_deleted} times more than without faults, {lost} lost"
        ),
    })
}

fn of(counts: &BTreeMap<ResourceId, u32>, id: &ResourceId) -> i64 {
    i64::from(counts.get(id).copied().unwrap_or(0))
}
