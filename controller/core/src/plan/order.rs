//! The order of a plan's steps, and their numbers.

use std::collections::BTreeMap;

use super::{Stage, Step, Verb};
use crate::resource::ResourceId;

/// A step before numbering: what it needs is still named by (verb, id).
pub struct DraftStep {
    pub step: Step,
    pub needs: Vec<(Verb, ResourceId)>,
}

/// Orders the steps by stage and by need, numbers them, and turns named needs into numbers. Needs never form a circle:
/// edges are those of an acyclic manifest, and deletes follow what the platform itself accepted.
pub fn numbered(drafts: Vec<DraftStep>) -> Vec<Step> {
    let mut ordered: Vec<DraftStep> = Vec::with_capacity(drafts.len());
    let index: BTreeMap<(Verb, ResourceId), usize> = drafts
        .iter()
        .enumerate()
        .map(|(at, draft)| ((draft.step.verb, draft.step.id.clone()), at))
        .collect();
    let stages: Vec<Stage> = drafts.iter().map(|draft| draft.step.stage).collect();
    let needs: Vec<Vec<usize>> = drafts
        .iter()
        .enumerate()
        .map(|(at, draft)| {
            draft
                .needs
                .iter()
                .filter_map(|need| index.get(need))
                .copied()
                .filter(|need| stages[*need] == stages[at])
                .collect()
        })
        .collect();
    let order = topological(&stages, &needs);
    let mut number_of = vec![0; drafts.len()];
    for (position, at) in order.iter().enumerate() {
        number_of[*at] = position + 1;
    }
    let mut slots: Vec<Option<DraftStep>> = drafts.into_iter().map(Some).collect();
    for at in order {
        let mut draft = slots[at].take().expect("each step is ordered once");
        draft.step.number = number_of[at];
        draft.step.needs = needs[at]
            .iter()
            .map(|need| number_of[*need])
            .filter(|need| *need < number_of[at])
            .collect();
        draft.step.needs.sort_unstable();
        draft.step.needs.dedup();
        ordered.push(draft);
    }
    ordered.into_iter().map(|draft| draft.step).collect()
}

/// Stage by stage, depth first, stable: what came first stays first wherever needs allow it.
fn topological(stages: &[Stage], needs: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(stages.len());
    let mut placed = vec![false; stages.len()];
    for stage in [Stage::MakeRoom, Stage::Apply, Stage::Prune] {
        for start in (0..stages.len()).filter(|at| stages[*at] == stage) {
            let mut stack = vec![(start, false)];
            while let Some((at, needs_placed)) = stack.pop() {
                if needs_placed {
                    order.push(at);
                } else if !placed[at] {
                    placed[at] = true;
                    stack.push((at, true));
                    stack.extend(
                        needs[at]
                            .iter()
                            .rev()
                            .filter(|need| !placed[**need])
                            .map(|need| (*need, false)),
                    );
                }
            }
        }
    }
    order
}
