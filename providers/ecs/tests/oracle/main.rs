//! What is rendered, judged by what Amazon itself says of its APIs: botocore's models of them, and cfn-lint's rules for task
//! definitions and services. `tests/amazon/venv` makes the Python in which they run.
//!
//! Both ways: what is rendered has to be taken, and what a rule here refuses has to be refused there too, or to stand on a list with
//! the page that says so.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod apps;
mod broken;
mod counterpart;
mod generated;
mod judge;
mod places;

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;

use portolan_provider_ecs::rules::RULES;
use serde_json::json;

use apps::{Given, app_of_example, root, target};
use broken::{BREAKS, NOT_KNOWN_TO_THE_ORACLE, broken};
use judge::{Case, judge};

/// Examples whose images would be built: their images lie in a registry, as `render --push` would have it.
const EXAMPLES: &[&str] = &["hello", "kubernetes", "pipeline", "shop", "canary"];

#[test]
fn every_example_becomes_what_amazon_takes() {
    let mut cases = Vec::new();
    for name in EXAMPLES {
        let given = Given {
            app: with_pauses(name, app_of_example(name)),
            ecs: target(),
        };
        let rendered = given.rendered();
        assert!(rendered.faults.is_empty(), "{name}: {:#?}", rendered.faults);
        cases.push(Case::of(name, &rendered.resources));
    }
    let folders = fs::read_dir(root().join("examples")).unwrap().flatten();
    let manifests = folders.filter(|folder| folder.path().join("portolan.yaml").exists());
    let found: BTreeSet<String> = manifests
        .map(|folder| folder.file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        found,
        EXAMPLES.iter().map(|name| name.to_string()).collect(),
        "every example is here"
    );
    all_are_taken("every_example_becomes_what_amazon_takes", &cases);
}

/// ECS waits for nobody's word at a share, which is told; with a time at each of two equal shares it takes the canary.
fn with_pauses(name: &str, mut app: serde_json::Value) -> serde_json::Value {
    if name == "canary" {
        let given = Given {
            app: app.clone(),
            ecs: target(),
        };
        let codes: Vec<String> = given.rendered().faults.into_iter().map(|fault| fault.code).collect();
        assert_eq!(codes, ["RolloutUnsupported"], "a canary that waits for a word");
        let step = |weight: &str| json!({ "weight": weight, "pause": "1m" });
        app["spec"]["services"]["greeter"]["rollout"]["steps"] = json!([step("25%"), step("50%"), step("75%")]);
    }
    app
}

#[test]
fn generated_apps_become_what_amazon_takes() {
    generated_apps("generated_apps_become_what_amazon_takes", 0..generated::COUNT);
}

#[test]
#[ignore = "minutes: for --full"]
fn four_hundred_generated_apps_become_what_amazon_takes() {
    generated_apps(
        "four_hundred_generated_apps_become_what_amazon_takes",
        0..10 * generated::COUNT,
    );
}

fn generated_apps(test: &str, seeds: Range<u64>) {
    let (count, mut cases, mut refused) = (seeds.end, Vec::new(), BTreeSet::new());
    for seed in seeds {
        let rendered = generated::given(seed).rendered();
        match rendered.faults.is_empty() {
            true => cases.push(Case::of(&format!("seed {seed}"), &rendered.resources)),
            false => refused.extend(rendered.faults.into_iter().map(|fault| fault.code)),
        }
    }
    let taken = cases.len() as u64;
    println!("{taken} of {count} taken; the others by {refused:?}");
    assert!(taken > count / 2, "most of them are good: {taken}, {refused:?}");
    all_are_taken(test, &cases);
}

fn all_are_taken(test: &str, cases: &[Case]) {
    let Some(verdicts) = judge(test, cases) else { return };
    assert_eq!(verdicts.len(), cases.len());
    for verdict in verdicts {
        assert!(verdict.is_taken(), "{}: {:#?}", verdict.name, verdict);
    }
}

#[test]
fn what_a_rule_refuses_amazon_refuses_too() {
    const TEST: &str = "what_a_rule_refuses_amazon_refuses_too";
    let ruled: BTreeSet<&str> = RULES.iter().map(|rule| rule.says).collect();
    let broken_once: BTreeSet<&str> = BREAKS.iter().map(|(says, _)| *says).collect();
    assert_eq!(ruled, broken_once, "every rule is broken once, and no other");
    let mut cases = Vec::new();
    for (says, how) in BREAKS {
        let (faults, case) = broken(says, how);
        assert!(!faults.is_empty(), "nothing is said of: {says}");
        for fault in faults {
            assert!(fault.pointer.starts_with("/spec/"), "{says}: {fault:?} has no place");
            assert!(fault.hint.is_some(), "{says}: {fault:?} has no hint");
        }
        cases.push(case);
    }
    let Some(verdicts) = judge(TEST, &cases) else { return };
    let taken = verdicts.iter().filter(|one| one.is_taken());
    let taken: Vec<&str> = taken.map(|one| one.name.as_str()).collect();
    for verdict in verdicts.iter().filter(|one| !one.is_taken()) {
        println!("{verdict:?}");
    }
    assert_eq!(
        taken, NOT_KNOWN_TO_THE_ORACLE,
        "left: what the oracle takes, though a rule here refuses it"
    );
    for rule in RULES {
        assert!(
            rule.page.starts_with("https://docs.aws.amazon.com/"),
            "{} names its page",
            rule.says
        );
    }
}
