//! Canary, and blue and green: a second Deployment that comes, has its share, and goes.

use serde_json::{Value, json};

use crate::life::told;
use crate::world::{ACCOUNT, RESYNC, World, app, target, until};

const NEXT: &str = "portolan.dev/rollout-beside";

fn with(strategy: &str, steps: &Value, digit: char) -> Value {
    let mut walked = app("shop", 4);
    let web = &mut walked["spec"]["services"]["web"];
    let digest = digit.to_string().repeat(64);
    web["image"] = json!(format!("registry.example/web@sha256:{digest}"));
    web["rollout"] = json!({ "strategy": strategy, "steps": steps });
    walked
}

/// The service's own Deployment, and the next if there is one.
fn deployments(world: &World) -> (Value, Option<Value>) {
    let all = world
        .get(&["-n", "team", "deployments", "-l", "portolan.dev/app=shop"])
        .unwrap();
    let all = all["items"].as_array().unwrap().iter().cloned();
    let (next, own): (Vec<Value>, Vec<Value>) = all.partition(|one| one["metadata"]["annotations"].get(NEXT).is_some());
    (own[0].clone(), next.first().cloned())
}

fn image(deployment: &Value) -> char {
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap();
    image.chars().last().unwrap()
}

/// What both say: which image the service's own has, which the next has, and how many of it there are.
fn both(world: &World) -> (char, Option<(char, u64)>) {
    let (own, next) = deployments(world);
    let next = next.map(|next| (image(&next), next["spec"]["replicas"].as_u64().unwrap()));
    (image(&own), next)
}

fn selector(world: &World) -> String {
    let service = world
        .get(&["-n", "team", "service", "-l", "portolan.dev/app=shop"])
        .unwrap();
    let selector = &service["items"][0]["spec"]["selector"];
    selector["app.kubernetes.io/instance"]
        .as_str()
        .unwrap_or("all")
        .to_string()
}

fn promote(world: &World, to: &str) {
    let (_, next) = deployments(world);
    let next = next.unwrap();
    let revision = next["metadata"]["labels"]["portolan.dev/revision"].as_str().unwrap();
    let promoted = format!("portolan.dev/promoted={revision}/{to}");
    let name = next["metadata"]["name"].as_str().unwrap();
    world
        .plane
        .kubectl(&["annotate", "--overwrite", "deployment", "-n", "team", name, &promoted])
        .unwrap();
}

#[test]
fn a_canary_is_walked_promoted_and_gone_back_from() {
    let test = "a_canary_is_walked_promoted_and_gone_back_from";
    let Some(world) = World::start(test) else { return };
    let _running = world.operator("one");
    let steps = json!([{ "weight": "20%", "pause": "2s" }, { "weight": "50%" }]);
    world.apply(&with("canary", &steps, '1'));
    world.is_ready("shop");
    assert_eq!(both(&world), ('1', None), "there is nothing to stand beside");

    world.apply(&with("canary", &steps, '2'));
    until("one of five", || both(&world) == ('1', Some(('2', 1))));
    until("half of eight", || both(&world) == ('1', Some(('2', 4))));
    until("it waits for its promotion", || {
        world.condition("shop", "Reconciling") == "True RolloutPaused"
    });
    assert_eq!(selector(&world), "all", "both have their share");
    until("they serve", || {
        let (_, next) = deployments(&world);
        next.is_some_and(|next| next["status"]["availableReplicas"] == 4)
    });
    // The status told of the first pause, and has yet to tell the word of this one.
    std::thread::sleep(RESYNC * 4);
    let since = world.now();
    std::thread::sleep(RESYNC * 4);
    let writes = world.writes(ACCOUNT, &since);
    assert!(writes.is_empty(), "it waits in silence: {:#?}", told(&writes));
    promote(&world, "1");
    until("the service's own has it alone", || both(&world) == ('2', None));
    world.is_ready("shop");

    let since = world.now();
    world.apply(&with("canary", &steps, '1'));
    until("the way back has no steps", || both(&world) == ('1', None));
    world.is_ready("shop");
    let made = world.writes(ACCOUNT, &since);
    let made: Vec<_> = made
        .into_iter()
        .filter(|one| one.resource == "deployments" && one.verb == "create")
        .collect();
    assert!(made.is_empty(), "{:#?}", told(&made));

    world.apply(&with("canary", &steps, '3'));
    until("a canary", || both(&world) == ('1', Some(('3', 1))));
    world.apply(&with("canary", &steps, '4'));
    until("another one takes its place", || both(&world) == ('1', Some(('4', 1))));
    world.apply(&with("canary", &steps, '1'));
    until("it was a mistake", || both(&world) == ('1', None));
    world.is_ready("shop");

    world.apply(&with("canary", &steps, '5'));
    until("a canary on its way", || both(&world).1.is_some());
    world
        .plane
        .kubectl(&["delete", "app", "-n", "team", "shop", "--timeout=90s"])
        .unwrap();
    let left = world.get(&["-n", "team", "deployments", "-l", "portolan.dev/app=shop"]);
    assert!(
        left.is_none_or(|left| left["items"].as_array().unwrap().is_empty()),
        "both are deleted"
    );
}

/// The word for the pause that it is in.
fn pause(world: &World) -> Option<String> {
    let app = world.get(&["-n", "team", "app", "shop"])?;
    app["status"]["targets"]["here"]["promotion"].as_str().map(String::from)
}

fn say(world: &World, word: &str) {
    let promote = format!("portolan.dev/promote={word}");
    let annotate = ["annotate", "--overwrite", "app", "-n", "team", "shop", &promote];
    world.plane.kubectl(&annotate).unwrap();
}

#[test]
fn a_pause_is_ended_by_its_word_on_the_app() {
    let test = "a_pause_is_ended_by_its_word_on_the_app";
    let Some(world) = World::start(test) else { return };
    let _running = world.operator("one");
    let steps = json!([{ "weight": "20%" }, { "weight": "30%" }, { "weight": "50%" }]);
    world.apply(&with("canary", &steps, '1'));
    world.is_ready("shop");
    world.apply(&with("canary", &steps, '2'));
    until("it waits", || pause(&world).is_some());
    let first = pause(&world).unwrap();
    say(&world, &first);
    until("it waits again", || pause(&world).is_some_and(|word| word != first));
    assert_eq!(both(&world), ('1', Some(('2', 2))), "one step further");
    let second = pause(&world).unwrap();
    let app = world.get(&["-n", "team", "app", "shop"]).unwrap();
    let ready = &app["status"]["conditions"][0]["message"];
    let command = format!("`kubectl annotate --overwrite app -n team shop portolan.dev/promote={second}`");
    assert!(ready.as_str().unwrap().contains(&command), "{ready}");

    say(&world, &format!("{first}/full"));
    until("somebody is told that it is of another pause", || {
        let events = world.get(&["-n", "team", "events.events.k8s.io"]).unwrap();
        let mut events = events["items"].as_array().unwrap().iter();
        events.any(|event| event["reason"] == "NotPaused")
    });
    std::thread::sleep(RESYNC * 2);
    assert_eq!(both(&world), ('1', Some(('2', 2))), "and nothing is done");
    say(&world, &format!("{second}/full"));
    until("the service's own has it alone", || both(&world) == ('2', None));
    world.is_ready("shop");
    let app = world.get(&["-n", "team", "app", "shop"]).unwrap();
    assert_eq!(app["status"]["lastHandledPromote"], format!("{second}/full"));

    world.apply(&with("canary", &steps, '3'));
    until("the next one waits", || pause(&world).is_some());
    std::thread::sleep(RESYNC * 2);
    assert_eq!(
        both(&world),
        ('2', Some(('3', 1))),
        "what was said was of the one before"
    );
}

#[test]
fn blue_and_green_are_switched_by_a_selector() {
    let test = "blue_and_green_are_switched_by_a_selector";
    let Some(world) = World::start(test) else { return };
    let _running = world.operator("one");
    let waits = json!([{ "weight": "0%" }]);
    world.apply(&with("blueGreen", &waits, '1'));
    world.is_ready("shop");
    let own = selector(&world);

    world.apply(&with("blueGreen", &waits, '2'));
    until("all of them beside the old ones", || {
        both(&world) == ('1', Some(('2', 4)))
    });
    until("they wait", || {
        world.condition("shop", "Reconciling") == "True RolloutPaused"
    });
    assert_eq!(selector(&world), own, "with no connection");
    promote(&world, "0");
    until("the service's own has it alone", || both(&world) == ('2', None));
    world.is_ready("shop");
    assert_eq!(selector(&world), own, "and every connection again");
    let writes = world.plane.audit().unwrap();
    let switched = writes
        .iter()
        .filter(|one| one.user == ACCOUNT && one.resource == "services" && one.verb == "patch");
    assert!(switched.count() >= 2, "there and back");

    let at_once = json!([]);
    world.apply(&with("blueGreen", &at_once, '3'));
    until("without a word", || both(&world) == ('3', None));
    world.is_ready("shop");

    // Whoever takes the KubeService away in the midst of one has it back where it was led.
    world.apply(&with("blueGreen", &at_once, '7'));
    until("a switch is on its way", || {
        selector(&world) != own || both(&world).0 == '7'
    });
    let of_shop = ["-n", "team", "service", "-l", "portolan.dev/app=shop"];
    world.plane.kubectl(&[&["delete"], &of_shop[..]].concat()).unwrap();
    until("it is back", || world.get(&of_shop).is_some());
    until("the newest one serves alone", || {
        somebody_serves(&world);
        both(&world) == ('7', None)
    });
    world.is_ready("shop");
    assert_eq!(selector(&world), own);

    // And half way through one comes another, and then back to what was before both.
    for (digit, next) in [('4', '5'), ('6', '5')] {
        world.apply(&with("blueGreen", &at_once, digit));
        // It may be over before it is seen.
        until("a switch is on its way", || {
            somebody_serves(&world);
            selector(&world) != own || both(&world).0 == digit
        });
        world.apply(&with("blueGreen", &at_once, next));
        until("the newest one serves alone", || {
            somebody_serves(&world);
            both(&world) == (next, None)
        });
        world.is_ready("shop");
        assert_eq!(selector(&world), own);
    }
}

/// Wherever the connections go there are pods that answer.
fn somebody_serves(world: &World) {
    let led_to = format!("app.kubernetes.io/instance={}", selector(world));
    let pods = world.get(&["-n", "team", "pods", "-l", &led_to]).unwrap_or_default();
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let is_ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions
            .iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    // It may have been switched between the two looks.
    let still = format!("app.kubernetes.io/instance={}", selector(world)) == led_to;
    assert!(!still || pods.iter().any(|pod| is_ready(&pod)), "{led_to}: {pods:#?}");
}

#[test]
fn a_route_weighs_and_a_bad_canary_gives_way() {
    let test = "a_route_weighs_and_a_bad_canary_gives_way";
    let Some(world) = World::start(test) else { return };
    world.plane.install_definitions().unwrap();
    world.apply(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": "edge", "namespace": "team" },
        "spec": { "gatewayClassName": "some", "listeners": [{ "name": "http", "protocol": "HTTP", "port": 80 }] },
    }));
    let mut edge = target("here");
    edge["spec"]["kubernetes"] = json!({ "gateway": { "name": "edge" } });
    world.apply(&edge);
    let _running = world.operator("one");
    let steps = json!([{ "weight": "10%", "pause": "1s" }, { "weight": "50%" }]);
    let weighed = |digit: char| {
        let mut weighed = with("canary", &steps, digit);
        weighed["spec"]["services"]["web"]["domains"] = json!([{ "host": "shop.example.com" }]);
        weighed
    };
    world.apply(&weighed('1'));
    until("there is a route", || !weights(&world).is_empty());
    accept(&world);
    world.is_ready("shop");
    assert_eq!(weights(&world), [100, 0]);

    world.apply(&weighed('2'));
    until("a tenth, once its pods are ready", || weights(&world) == [90, 10]);
    until("half", || weights(&world) == [50, 50]);
    assert_eq!(
        both(&world),
        ('1', Some(('2', 2))),
        "a route needs no more replicas than its share"
    );
    until("it waits", || {
        world.condition("shop", "Reconciling") == "True RolloutPaused"
    });
    // Whoever takes a label away has it put back, and nothing else moved.
    let route = [
        "label",
        "httproute",
        "-n",
        "team",
        "-l",
        "portolan.dev/app=shop",
        "app.kubernetes.io/part-of-",
    ];
    world.plane.kubectl(&route).unwrap();
    until("the label is back", || {
        world
            .get(&["-n", "team", "httproute", "-l", "app.kubernetes.io/part-of=shop"])
            .is_some_and(|found| {
                let found = found["items"].as_array().map_or(0, Vec::len);
                found == 1
            })
    });
    assert_eq!(weights(&world), [50, 50], "it is led as before");
    promote(&world, "full");
    until("it has everything", || {
        both(&world) == ('2', None) && weights(&world) == [100, 0]
    });
    world.is_ready("shop");

    world.apply(&weighed('3'));
    until("its pods crash", || {
        crash_next(&world);
        world.condition("shop", "Stalled") == "True CrashLoopBackOff"
    });
    until("the old ones have everything", || {
        both(&world) == ('2', None) && weights(&world) == [100, 0]
    });
    std::thread::sleep(RESYNC * 3);
    assert_eq!(both(&world), ('2', None), "it is not tried again by itself");
}

fn weights(world: &World) -> Vec<u64> {
    let routes = world
        .get(&["-n", "team", "httproute", "-l", "portolan.dev/app=shop"])
        .unwrap_or_default();
    let backends = routes["items"][0]["spec"]["rules"][0]["backendRefs"]
        .as_array()
        .cloned();
    let backends = backends.iter().flatten();
    backends.map(|one| one["weight"].as_u64().unwrap()).collect()
}

/// As a gateway would say it; none runs here.
fn accept(world: &World) {
    let routes = world
        .get(&["-n", "team", "httproute", "-l", "portolan.dev/app=shop"])
        .unwrap();
    let name = routes["items"][0]["metadata"]["name"].as_str().unwrap();
    let condition = json!({
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let parent =
        json!({ "parentRef": { "name": "edge" }, "controllerName": "example.com/none", "conditions": [condition] });
    let status = json!({ "status": { "parents": [parent] } }).to_string();
    let patch = [
        "patch",
        "httproute",
        "-n",
        "team",
        name,
        "--type=merge",
        "--subresource=status",
        "-p",
        &status,
    ];
    world.plane.kubectl(&patch).unwrap();
}

fn crash_next(world: &World) {
    let (_, Some(next)) = deployments(world) else { return };
    let name = next["metadata"]["name"].as_str().unwrap();
    let of_next = format!("app.kubernetes.io/instance={name}");
    let pods = world.get(&["-n", "team", "pods", "-l", &of_next]).unwrap();
    for pod in pods["items"].as_array().unwrap() {
        let container = &pod["spec"]["containers"][0];
        let status =
            json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }], "containerStatuses": [{
            "name": container["name"], "image": container["image"], "imageID": "", "ready": false, "restartCount": 2,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
            "lastState": { "terminated": { "exitCode": 3, "reason": "Error" } },
        }] } })
            .to_string();
        let name = pod["metadata"]["name"].as_str().unwrap();
        // It may have gone meanwhile.
        _ = world.plane.kubectl(&[
            "patch",
            "pod",
            "-n",
            "team",
            name,
            "--subresource=status",
            "-p",
            &status,
        ]);
    }
}
