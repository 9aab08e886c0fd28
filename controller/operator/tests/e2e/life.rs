//! The life of an App: it comes, changes, rests and goes, and what is wrong with one is said.

use std::thread::sleep;

use portolan_cluster::Entry;
use serde_json::json;

use crate::world::{ACCOUNT, RESYNC, World, app, target, until};

/// Everything that bears an App's label.
const ALL: &str =
    "deployments,services,configmaps,serviceaccounts,jobs,statefulsets,persistentvolumeclaims,poddisruptionbudgets";

fn left(world: &World) -> usize {
    count(world, ALL, "portolan.dev/app")
}

fn count(world: &World, kinds: &str, selector: &str) -> usize {
    let found = world.get(&["-n", "team", kinds, "-l", selector]);
    found.map_or(0, |found| found["items"].as_array().map_or(0, Vec::len))
}

pub fn told(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|one| format!("{} {} {} {}", one.verb, one.resource, one.name, one.code))
        .collect()
}

/// Nothing but leases is written, over several looks.
fn rests(world: &World, why: &str) {
    rests_for(world, 6, why);
}

pub fn rests_for(world: &World, resyncs: u32, why: &str) {
    let since = world.now();
    sleep(RESYNC * resyncs + RESYNC / 2);
    let writes = world.writes(ACCOUNT, &since);
    assert!(writes.is_empty(), "{why}: {:#?}", told(&writes));
}

#[test]
fn an_app_comes_changes_rests_and_goes_with_the_shipped_role() {
    let test = "an_app_comes_changes_rests_and_goes_with_the_shipped_role";
    let Some(world) = World::start(test) else { return };
    let first = world.operator("first");
    world.apply(&app("hello", 2));
    world.is_ready("hello");
    let object = world.get(&["-n", "team", "app", "hello"]).unwrap();
    assert_eq!(object["metadata"]["finalizers"], json!(["portolan.dev/cleanup"]));
    assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
    assert_eq!(world.condition("hello", "Stalled"), "False NotHeld");
    assert_eq!(world.condition("hello", "Reconciling"), "False Settled");

    world
        .plane
        .kubectl(&["wait", "--for=condition=Ready", "--timeout=30s", "target/here"])
        .unwrap();
    world.apply(&app("hello", 3));
    world.is_ready("hello");
    let deployments = world
        .get(&["-n", "team", "deployments", "-l", "portolan.dev/app=hello"])
        .unwrap();
    assert_eq!(deployments["items"].as_array().unwrap().len(), 1);
    assert_eq!(deployments["items"][0]["spec"]["replicas"], 3);
    let object = world.get(&["-n", "team", "app", "hello"]).unwrap();
    let history = object["status"]["targets"]["here"]["history"].as_array().unwrap();
    let generations: Vec<_> = history.iter().map(|one| (&one["generation"], &one["ready"])).collect();
    assert_eq!(generations, [(&json!(2), &json!(true)), (&json!(1), &json!(true))]);
    rests(&world, "a converged App");

    let since = world.now();
    first.kill();
    let second = world.operator("first");
    until("the next one has the lease and has looked", || {
        second.log().contains("this side writes now")
    });
    sleep(RESYNC * 5);
    let writes = world.writes(ACCOUNT, &since);
    assert!(writes.is_empty(), "a controller that begins anew: {:#?}", told(&writes));

    assert_eq!(second.stop(), Some(0));
    let third = world.operator("another, without a journal");
    until("it looks", || third.log().contains("this side writes now"));
    rests(&world, "a controller without a journal");

    world
        .plane
        .kubectl(&[
            "annotate",
            "app",
            "-n",
            "team",
            "hello",
            "portolan.dev/reconcile-at=now",
        ])
        .unwrap();
    until("it is obeyed", || {
        let object = world.get(&["-n", "team", "app", "hello"]).unwrap();
        object["status"]["lastHandledReconcileAt"] == "now"
    });
    rests(&world, "a reconcile on demand that found nothing");

    world
        .plane
        .kubectl(&["delete", "app", "-n", "team", "hello", "--timeout=90s"])
        .unwrap();
    assert_eq!(left(&world), 0);
    let events = world.get(&["-n", "team", "events.events.k8s.io"]).unwrap();
    let reasons: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["reason"].as_str())
        .collect();
    for reason in ["Converged", "Deleted"] {
        assert!(reasons.contains(&reason), "{reason} is not among {reasons:?}");
    }
}

#[test]
fn a_plan_that_waits_is_carried_out_once_the_app_says_yes_to_it() {
    let test = "a_plan_that_waits_is_carried_out_once_the_app_says_yes_to_it";
    let Some(world) = World::start(test) else { return };
    let _running = world.operator("one");
    world.asks();
    until("it waits for a yes", || {
        world.condition("asking", "Reconciling") == "True AwaitingApproval"
    });
    assert_eq!(left(&world), 0, "nothing is done before");
    let approve = |plan: &str| {
        let approved = format!("portolan.dev/approve={plan}");
        let annotate = ["annotate", "--overwrite", "app", "-n", "team", "asking", &approved];
        world.plane.kubectl(&annotate).unwrap();
    };
    approve("another-plan");
    rests(&world, "a yes to something else");
    let object = world.get(&["-n", "team", "app", "asking"]).unwrap();
    approve(object["status"]["targets"]["careful"]["plan"].as_str().unwrap());
    world.is_ready("asking");
}

#[test]
fn what_is_wrong_is_said_and_nothing_hangs() {
    let Some(world) = World::start("what_is_wrong_is_said_and_nothing_hangs") else {
        return;
    };
    let _running = world.operator("one");
    let mut built = app("built", 1);
    built["spec"]["services"]["web"] = json!({ "build": { "context": "." } });
    world.apply(&built);
    let mut astray = app("astray", 1);
    astray["spec"]["targets"] = json!(["nowhere"]);
    world.apply(&astray);
    let mut half = app("half", 1);
    half["spec"]["targets"] = json!(["here", "nowhere"]);
    world.apply(&half);
    until("a build is refused", || {
        world.condition("built", "Stalled") == "True BuildHasNoSource"
    });
    until("a Target is missing", || {
        world.condition("astray", "Ready") == "False UnknownTarget"
    });
    assert_eq!(world.condition("built", "Ready"), "False BuildHasNoSource");
    let mut wrong = app("wrong", 1);
    wrong["spec"]["services"]["web"]["ports"] = json!([{ "name": "http", "port": "many" }]);
    let refused = world.plane.apply(&wrong.to_string()).unwrap_err().to_string();
    assert!(
        refused.contains(".spec.services.web.ports") && refused.contains("port: expected numeric"),
        "{refused}"
    );
    until("the other target is told of, too", || {
        world.condition("half", "Ready") == "False UnknownTarget"
    });
    world.apply(&app("half", 1));
    world.is_ready("half");
    world
        .plane
        .kubectl(&[
            "delete",
            "app",
            "-n",
            "team",
            "built",
            "astray",
            "half",
            "--timeout=60s",
        ])
        .unwrap();
    assert_eq!(left(&world), 0);

    world.apply(&target("there"));
    let mut moved = app("moved", 1);
    moved["spec"]["targets"] = json!(["there"]);
    world.apply(&moved);
    world.is_ready("moved");
    let before = left(&world);
    world.plane.kubectl(&["delete", "target", "there"]).unwrap();
    world
        .plane
        .kubectl(&["delete", "app", "-n", "team", "moved", "--wait=false"])
        .unwrap();
    until("a delete that cannot be is told", || {
        world.condition("moved", "Stalled") == "True UnknownTarget"
    });
    world
        .plane
        .kubectl(&["annotate", "app", "-n", "team", "moved", "portolan.dev/orphan=true"])
        .unwrap();
    until("it is let go", || world.get(&["-n", "team", "app", "moved"]).is_none());
    assert_eq!(left(&world), before, "what is let go is left as it is");
}

#[test]
fn a_target_that_is_left_is_cleaned_up_and_a_suspended_app_is_left_alone() {
    let test = "a_target_that_is_left_is_cleaned_up_and_a_suspended_app_is_left_alone";
    let Some(world) = World::start(test) else { return };
    let _running = world.operator("one");
    world.apply(&target("there"));
    let mut both = app("both", 1);
    both["spec"]["targets"] = json!(["here", "there"]);
    world.apply(&both);
    world.is_ready("both");
    world.apply(&app("both", 1));
    until("nothing is left there", || {
        count(&world, ALL, "portolan.dev/target=there") == 0
    });
    world.is_ready("both");
    until("nothing is told of it", || {
        let object = world.get(&["-n", "team", "app", "both"]).unwrap();
        object["status"]["targets"].as_object().unwrap().keys().eq(["here"])
    });
    rests(&world, "after a target was left");

    world
        .plane
        .kubectl(&["annotate", "app", "-n", "team", "both", "portolan.dev/suspend=true"])
        .unwrap();
    until("it is suspended", || {
        world.condition("both", "Reconciling") == "False Suspended"
    });
    world
        .plane
        .kubectl(&["delete", "deployments", "-n", "team", "-l", "portolan.dev/app=both"])
        .unwrap();
    rests(&world, "a suspended App");
    world
        .plane
        .kubectl(&["annotate", "app", "-n", "team", "both", "portolan.dev/suspend-"])
        .unwrap();
    until("what was missing is back", || {
        count(&world, "deployments", "portolan.dev/app=both") == 1
    });
    until("it is settled", || {
        world.condition("both", "Reconciling") == "False Settled"
    });
}
