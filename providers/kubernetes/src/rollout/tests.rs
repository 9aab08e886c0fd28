//! Where rollouts stand, by tables.

use std::time::{Duration, SystemTime};

use portolan_core::observation::ResourceState;
use serde_json::{Value, json};

use super::*;
use crate::kinds::{HTTP_ROUTE, SERVICE};
use crate::names::label;

fn way(strategy: &str, shares: &str, steps: &Value) -> Value {
    json!({ "metadata": {
        "name": "shop-web",
        "labels": { label::INSTANCE: "shop-web", label::REVISION: "r2" },
        "annotations": {
            annotation::STRATEGY: strategy, annotation::SHARES: shares, annotation::STEPS: steps.to_string(),
            annotation::AT: ARRIVED,
        },
    }, "spec": {
        "replicas": 4,
        "selector": { "matchLabels": { label::INSTANCE: "shop-web" } },
        "template": { "metadata": { "labels": { label::INSTANCE: "shop-web" } } },
    }})
}

fn own(revision: &str) -> Value {
    let mut own = way("canary", "replicas", &json!([]));
    own["metadata"]["labels"][label::REVISION] = json!(revision);
    own["status"] = json!({ "updatedReplicas": 4, "availableReplicas": 4 });
    own
}

const SECONDS: fn(u64) -> SystemTime = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);

#[test]
fn a_canary_has_at_least_one_replica_and_by_replicas_no_more_than_half() {
    for (reason, strategy, shares, weight, expected) in [
        ("the least there is", "canary", "replicas", 1, 1),
        ("one of five is a fifth", "canary", "replicas", 20, 1),
        ("rounded up", "canary", "replicas", 21, 2),
        ("as many as there are old ones", "canary", "replicas", 50, 4),
        ("no more of them", "canary", "replicas", 90, 4),
        ("a route weighs, replicas only carry", "canary", "weights", 50, 2),
        ("almost all", "canary", "weights", 90, 4),
        ("all of them wait for the switch", "blueGreen", "replicas", 0, 4),
    ] {
        let deployment = way(strategy, shares, &json!([{ "weight": weight }]));
        assert_eq!(Way::of(&deployment).unwrap().replicas(0, 4), expected, "{reason}");
    }
}

#[test]
fn a_rollout_goes_on_once_its_pause_is_over() {
    let steps = json!([{ "weight": 20, "pause": 60 }, { "weight": 50 }]);
    let canary = |at: &str, replicas: u32, promoted: Option<&str>| {
        let mut next = next_of(
            way("canary", "replicas", &steps),
            "shop-web-next",
            0,
            4,
            "1970-01-01T00:01:40Z",
        );
        next["metadata"]["annotations"][annotation::AT] = json!(at);
        next["metadata"]["annotations"][annotation::PROMOTED] = json!(promoted);
        next["spec"]["replicas"] = json!(replicas);
        next
    };
    let weighed = || {
        let mut next = canary("0", 1, None);
        next["metadata"]["annotations"][annotation::SHARES] = json!("weights");
        next
    };
    let ready = ResourceState::Ready;
    let starting = ResourceState::progressing("0 of 1 replicas are ready");
    let late = "1970-01-01T00:03:00Z";
    for (reason, next, state, since, weight, now, expected) in [
        (
            "its pods start",
            canary("0", 1, None),
            &starting,
            None,
            None,
            500,
            "starting",
        ),
        (
            "it has its share for a while",
            canary("0", 1, None),
            &ready,
            None,
            None,
            160,
            "rests Time",
        ),
        (
            "the while is over",
            canary("0", 1, None),
            &ready,
            None,
            None,
            161,
            "due Step(1)",
        ),
        (
            "it counts from the last pod",
            canary("0", 1, None),
            &ready,
            Some(late),
            None,
            240,
            "rests Time",
        ),
        (
            "somebody will not wait",
            canary("0", 1, Some("r2/0")),
            &ready,
            None,
            None,
            101,
            "due Step(1)",
        ),
        (
            "what was promoted was another one",
            canary("0", 1, Some("r1/0")),
            &ready,
            None,
            None,
            101,
            "rests Time",
        ),
        (
            "until somebody says so",
            canary("1", 4, Some("r2/0")),
            &ready,
            None,
            None,
            9999,
            "rests Promotion",
        ),
        (
            "somebody has",
            canary("1", 4, Some("r2/1")),
            &ready,
            None,
            None,
            101,
            "due Take",
        ),
        (
            "all the way at once",
            canary("0", 1, Some("r2/full")),
            &ready,
            None,
            None,
            101,
            "due Take",
        ),
        (
            "the service has grown meanwhile",
            canary("1", 2, None),
            &ready,
            None,
            None,
            101,
            "due Step(1)",
        ),
        (
            "its steps have gone",
            canary("7", 4, None),
            &ready,
            None,
            None,
            101,
            "due Take",
        ),
        (
            "its pods are ready, its weight comes now",
            weighed(),
            &ready,
            None,
            Some(0),
            101,
            "due Weigh(20)",
        ),
        (
            "it has its weight",
            weighed(),
            &ready,
            None,
            Some(20),
            101,
            "rests Time",
        ),
    ] {
        let own = own("r1");
        let pair = Pair { own: &own, next: &next };
        let told = match pair.stand(state, since, Led { weight, is_away: false }, SECONDS(now)) {
            Stand::Starting => "starting".to_string(),
            Stand::Resting { pause, .. } => format!("rests {pause:?}"),
            Stand::Due(due) => format!("due {due:?}"),
        };
        assert_eq!(told, expected, "{reason}");
    }
}

#[test]
fn the_last_move_is_to_take_the_next_away() {
    let own = own("r2");
    let next = next_of(way("canary", "replicas", &json!([])), "shop-web-next", 0, 4, "");
    let pair = Pair { own: &own, next: &next };
    assert_eq!(
        pair.stand(&ResourceState::Ready, None, Led::default(), SECONDS(0)),
        Stand::Due(Move::End)
    );
    let mut leaving = next_of(
        way("canary", "replicas", &json!([{ "weight": 20 }])),
        "shop-web-next",
        0,
        4,
        "",
    );
    leaving["metadata"]["labels"][label::REVISION] = json!("r9");
    leaving["metadata"]["annotations"][annotation::AT] = json!(LEAVING);
    let gone_back = Pair {
        own: &own,
        next: &leaving,
    };
    assert_eq!(
        gone_back.stand(&ResourceState::Ready, None, Led::default(), SECONDS(0)),
        Stand::Due(Move::End),
        "nobody wants it any more"
    );
    let away = Led {
        weight: None,
        is_away: true,
    };
    assert_eq!(
        pair.stand(&ResourceState::Ready, None, away, SECONDS(0)),
        Stand::Due(Move::Home),
        "nobody is sent to it any more when it goes"
    );
    let rolls = ResourceState::progressing("1 of 4 replicas are of the new revision");
    assert_eq!(
        pair.stand(&rolls, None, Led::default(), SECONDS(0)),
        Stand::Starting,
        "its own rolls out"
    );
}

#[test]
fn a_promotion_is_of_a_revision_and_of_the_step_where_it_was_said() {
    let mut next = next_of(way("canary", "replicas", &json!([])), "shop-web-next", 3, 4, "");
    let promotion = |next: &Value, full: bool| Pair { own: next, next }.promotion(full);
    assert_eq!(promotion(&next, false), "r2/3");
    next["metadata"]["labels"][label::REVISION] = json!("r3");
    assert_eq!(promotion(&next, true), "r3/full");
}

#[test]
fn the_next_is_what_was_rendered_under_another_name() {
    let rendered = way("blueGreen", "replicas", &json!([]));
    let next = next_of(rendered.clone(), "shop-web-next", 0, 3, "2026-01-01T00:00:00Z");
    for pointer in [
        "/metadata/name",
        "/metadata/labels/app.kubernetes.io~1instance",
        "/spec/selector/matchLabels/app.kubernetes.io~1instance",
        "/spec/template/metadata/labels/app.kubernetes.io~1instance",
    ] {
        assert_eq!(next.pointer(pointer), Some(&json!("shop-web-next")), "{pointer}");
    }
    assert_eq!(next["spec"]["replicas"], 3);
    assert_eq!(beside(&next), Some("shop-web"));
    assert_eq!(revision(&next), Some("r2"));
}

#[test]
fn what_has_served_everybody_comes_back_at_once() {
    let served = |own: &Value, wanted: &str| served_before(own, Some(wanted)).join(" ");
    let with = |revision: &str, known: &str, available: u32| {
        let mut own = own(revision);
        own["metadata"]["annotations"][annotation::SERVED] = json!(known);
        own["status"]["availableReplicas"] = json!(available);
        own
    };
    for (reason, own, wanted, expected) in [
        ("the first", own("r1"), "r2", "r1"),
        ("and another", with("r2", "r1", 4), "r3", "r1 r2"),
        ("never complete", with("r2", "r1", 3), "r3", "r1"),
        ("the same again, which is complete", with("r2", "r1", 4), "r2", "r1 r2"),
        ("it is known", with("r2", "r1 r2", 4), "r3", "r1 r2"),
        ("what it comes back from is forgotten", with("r3", "r1 r2", 4), "r1", ""),
        ("so is all that came after", with("r3", "r1 r2", 4), "r2", "r1"),
        (
            "ten are enough",
            with("r11", "a b c d e f g h i j", 4),
            "r12",
            "b c d e f g h i j r11",
        ),
    ] {
        assert_eq!(served(&own, wanted), expected, "{reason}");
    }
}

#[test]
fn connections_are_led_where_a_rollout_says() {
    let mut service = json!({ "metadata": { "annotations": { annotation::STRATEGY: "blueGreen" } },
        "spec": { "selector": { label::INSTANCE: "shop-web" } } });
    let mut route = json!({ "metadata": { "annotations": { annotation::STRATEGY: "canary" } },
        "spec": { "rules": [{ "backendRefs": [{ "weight": 100 }, { "weight": 0 }] }] } });
    for (kind, object, to) in [
        (&SERVICE, &mut service, Traffic::To("shop-web-next".into())),
        (&HTTP_ROUTE, &mut route, Traffic::Weight(25)),
    ] {
        assert!(is_led(kind, object));
        assert_eq!(
            leads(kind, object),
            Some(home(kind, "shop-web")),
            "{} at rest",
            kind.name
        );
        to.lead(object);
        assert_eq!(leads(kind, object), Some(to), "{} led", kind.name);
        object["metadata"]["annotations"] = json!({});
        assert!(!is_led(kind, object), "{} of a service that is not walked", kind.name);
    }
    let weights = route.pointer("/spec/rules/0/backendRefs").unwrap();
    assert_eq!(*weights, json!([{ "weight": 75 }, { "weight": 25 }]), "both are all");
}

#[test]
fn connections_are_away_from_home_where_one_object_leads_elsewhere() {
    let service = |to: &str| {
        json!({ "metadata": { "annotations": { annotation::STRATEGY: "blueGreen" } },
            "spec": { "selector": { label::INSTANCE: to } } })
    };
    let route = |weight: u8| {
        json!({ "metadata": { "annotations": { annotation::STRATEGY: "canary" } },
            "spec": { "rules": [{ "backendRefs": [{ "weight": 100 - weight }, { "weight": weight }] }] } })
    };
    let nobodys = json!({ "spec": { "selector": { label::INSTANCE: "shop-web-next" } } });
    let (home, next) = (service("shop-web"), service("shop-web-next"));
    for (reason, objects, weight, is_away) in [
        ("nothing is led", vec![(&SERVICE, &nobodys)], None, false),
        ("at home", vec![(&SERVICE, &home)], None, false),
        ("one of two", vec![(&SERVICE, &home), (&SERVICE, &next)], None, true),
        ("a route at home", vec![(&HTTP_ROUTE, &route(0))], Some(0), false),
        ("a route that weighs", vec![(&HTTP_ROUTE, &route(25))], Some(25), true),
    ] {
        assert_eq!(Led::by("shop-web", objects), Led { weight, is_away }, "{reason}");
    }
}

#[test]
fn what_is_made_anew_leads_to_those_who_stand_in() {
    let steps = json!([{ "weight": 25 }]);
    for (reason, strategy, shares, revision, kind, expected) in [
        (
            "the next has everything until the service's own has it",
            "blueGreen",
            "replicas",
            "r2",
            &SERVICE,
            Some(Traffic::To("shop-web-next".into())),
        ),
        ("it waits", "blueGreen", "replicas", "r1", &SERVICE, None),
        (
            "a route's share",
            "canary",
            "weights",
            "r2",
            &HTTP_ROUTE,
            Some(Traffic::Weight(25)),
        ),
        ("its step says it", "canary", "weights", "r1", &HTTP_ROUTE, None),
        ("no route weighs", "canary", "replicas", "r2", &HTTP_ROUTE, None),
    ] {
        let (own, rendered) = (own(revision), way(strategy, shares, &steps));
        let next = next_of(rendered, "shop-web-next", 0, 4, "");
        let pair = Pair { own: &own, next: &next };
        assert_eq!(pair.leads_meanwhile(kind), expected, "{reason}");
    }
}
