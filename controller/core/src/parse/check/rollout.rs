//! Rollouts: steps that fit their strategy and grow.

use super::service::check_positive;
use super::{Fault, Path};
use crate::manifest::Percent;
use crate::parse::node::{Entry, Node};

const CODE: &str = "RolloutSteps";

pub fn check(rollout: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    check_positive(Some(&rollout.value), "deadline", path, faults);
    let steps = rollout.value.entry("steps");
    let shares = steps.map(|steps| shares(&steps.value)).unwrap_or_default();
    match (rollout.value.get("strategy").and_then(Node::text), steps) {
        (Some("canary"), None) => {
            let message = "a canary has no steps".to_string();
            let fault = Fault::new(CODE, rollout.key_span, path, message);
            faults.push(fault.hint("add `steps: [{weight: 10%, pause: 5m}]`, or more of them"));
        }
        (Some("canary"), Some(steps)) if steps.value.items().is_empty() => {
            let fault = Fault::new(
                CODE,
                steps.key_span,
                &path.key("steps"),
                "a canary has no steps".to_string(),
            );
            faults.push(fault.hint("give it one, such as `{weight: 10%, pause: 5m}`"));
        }
        (Some("canary"), Some(_)) => check_growth(&shares, &path.key("steps"), faults),
        (Some("blueGreen"), Some(_)) => check_switch(&shares, &path.key("steps"), faults),
        (None | Some("rolling" | "recreate"), Some(steps)) => {
            let message = "these steps are never taken".to_string();
            let fault = Fault::new(CODE, steps.key_span, &path.key("steps"), message);
            faults.push(fault.hint("`strategy: canary` takes steps; the others replace replicas without them"));
        }
        // No steps are wanted; or the strategy is a fault of its own.
        _ => {}
    }
}

/// The weights that can be read, with their places; what cannot is a fault of its own.
fn shares(steps: &Node) -> Vec<(usize, &Node, u8)> {
    let steps = steps.items().iter().enumerate();
    let share = |(index, step): (usize, &'_ Node)| {
        let weight = step.get("weight")?;
        let share = weight.text()?.parse::<Percent>().ok()?;
        Some((index, share.get()))
    };
    let known = steps.filter_map(|(index, step)| share((index, step)).map(|(index, share)| (index, step, share)));
    known.collect()
}

/// Each share is larger than the one before, and none is everything: that comes after the last step by itself.
fn check_growth(shares: &[(usize, &Node, u8)], path: &Path<'_>, faults: &mut Vec<Fault>) {
    let mut before = 0;
    for (index, step, share) in shares {
        let step_path = path.index(*index);
        let weight_path = step_path.key("weight");
        let span = step.get("weight").map_or(step.span, |weight| weight.span);
        if *share == 100 {
            let message = "a step of 100% is no step".to_string();
            let fault = Fault::new(CODE, span, &weight_path, message);
            faults.push(fault.hint("leave it out: after the last step the new revision gets everything"));
        } else if *share <= before {
            let message = match before {
                0 => "a canary without a share of the connections shows nothing".to_string(),
                _ => format!("a share of {share}% is not larger than the {before}% before it"),
            };
            let fault = Fault::new(CODE, span, &weight_path, message);
            faults.push(fault.hint("shares grow from step to step, from 1% on"));
        }
        before = before.max(*share);
    }
}

/// Before the switch the new revision gets no connection.
fn check_switch(shares: &[(usize, &Node, u8)], path: &Path<'_>, faults: &mut Vec<Fault>) {
    for (index, step, share) in shares {
        let step_path = path.index(*index);
        if *index > 0 {
            let message = "`blueGreen` has one step at most".to_string();
            let fault = Fault::new(CODE, step.span, &step_path, message);
            faults.push(fault.hint("several shares are what `strategy: canary` is for"));
        } else if *share != 0 {
            let span = step.get("weight").map_or(step.span, |weight| weight.span);
            let message = format!("`blueGreen` gives the new revision nothing before the switch, not {share}%");
            let fault = Fault::new(CODE, span, &step_path.key("weight"), message);
            faults.push(fault.hint("say `weight: 0%`, or `strategy: canary`"));
        }
    }
}
