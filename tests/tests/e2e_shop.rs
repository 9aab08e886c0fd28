//! `examples/shop` on this kernel, through the programs that a user runs: from the first `up` to the last `delete`.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portolan_tests::home::{Home, said};
use portolan_tests::machine::files_below;
use portolan_tests::scratch::{FIRST_FURTHER, Scratch};
use portolan_tests::shop::Shop;
use portolan_tests::wait::until;
use portolan_tests::{is_root, skip};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

/// The volume and the records of jobs: what outlives a delete.
const DATA: &[&str] = &["home/data/apps"];

#[test]
fn a_shop_lives() {
    if !is_root() {
        return skip("a_shop_lives", "containers are started by root");
    }
    lives(&Shop::new(18180), tells_what_it_uses);
}

#[test]
fn a_shop_lives_without_root_by_newuidmap() {
    const NAME: &str = "a_shop_lives_without_root_by_newuidmap";
    if !is_root() {
        return skip(NAME, "only root can become a user that nobody knows");
    }
    if !Path::new("/usr/bin/newuidmap").exists() {
        return skip(NAME, "there is no newuidmap (package uidmap)");
    }
    let user = Scratch {
        uid: 61_000,
        further: 65_536,
    };
    lives(&Shop::at(Home::of(user), 18183), |shop| {
        outlives_its_supervisor_and_its_keeper(shop, user);
        runs_as_another_user(shop);
    });
    until("no process is left", LIMIT, || {
        user.processes().is_empty().then_some(())
    });
}

#[test]
fn a_shop_lives_without_root_with_a_single_id() {
    if !is_root() {
        return skip(
            "a_shop_lives_without_root_with_a_single_id",
            "only root can become a user that nobody knows",
        );
    }
    let user = Scratch {
        uid: 61_001,
        further: 0,
    };
    let shop = Shop::at(Home::of(user), 18184);
    for folder in ["catalog", "migrate", "stats", "web"] {
        shop.edit(&format!("{folder}/Dockerfile"), "USER 1000:1000", "USER 0:0");
    }
    lives(&shop, |shop| {
        outlives_its_supervisor_and_its_keeper(shop, user);
        has_no_other_user(shop);
    });
    until("no process is left", LIMIT, || {
        user.processes().is_empty().then_some(())
    });
}

fn lives(shop: &Shop, further: impl FnOnce(&Shop)) {
    let before = shop.picture(&[]);

    comes_up(shop);
    no_secret_leaves_its_place(shop);
    unchanged_is_silent_and_heals(shop);
    a_change_of_source_is_served_on_the_same_address(shop);
    scales(shop);
    renames_a_service(shop);
    removes_a_service(shop);
    further(shop);
    data_outlives_a_delete(shop, &before);

    shop.answers(&["delete", "--yes", "--volumes"], 0);
    leaves(shop, &before, &[]);
}

fn tells_what_it_uses(shop: &Shop) {
    let status = shop.report(&["status", "-o", "json"]);
    let usage = status["usage"].as_object().expect("replicas run");
    let told = |one: &Value| one["memory"].is_string() && one["pids"].as_u64().is_some_and(|pids| pids > 0);
    assert!(!usage.is_empty() && usage.values().all(told), "{status}");
    let words = shop.answers(&["status"], 0);
    assert!(words.contains("uses ") && words.contains(" of memory, "), "{words}");
}

/// The process outside holds the network, so the next supervisor finds the containers where they were.
fn outlives_its_supervisor_and_its_keeper(shop: &Shop, user: Scratch) {
    let web = processes(shop, "web");
    let ours = |names: &[&str]| {
        let pids = user.processes().into_iter();
        pids.filter(|pid| names.contains(&comm(*pid).as_str()))
            .collect::<Vec<_>>()
    };
    let both = ours(&["portolan-superv", "portolan-keeper"]);
    assert_eq!(both.len(), 2, "one of each");
    for pid in &both {
        kill(*pid, "KILL");
    }
    until("both are gone", LIMIT, || {
        both.iter().all(|pid| comm(*pid).is_empty()).then_some(())
    });
    shop.answers(&["apply"], 0);
    assert_eq!(processes(shop, "web"), web, "the same processes");
    assert!(shop.get("/").body.contains("A sextant"), "and they reach each other");

    let supervisor = ours(&["portolan-superv"]);
    kill(supervisor[0], "KILL");
    shop.whoami();
    let another = || {
        ours(&["portolan-superv"])
            .first()
            .is_some_and(|pid| *pid != supervisor[0])
            .then_some(())
    };
    until("the keeper starts another one", LIMIT, another);
    shop.answers(&["apply"], 0);
    assert_eq!(processes(shop, "web"), web, "the same processes");
}

/// The user 1000 of the images is one of the further ids outside.
fn runs_as_another_user(shop: &Shop) {
    let uid = fs::metadata(format!("/proc/{}", container(shop, "web"))).unwrap().uid();
    assert_eq!(uid, FIRST_FURTHER + 999, "1000 inside");
}

fn has_no_other_user(shop: &Shop) {
    const PLACE: &str = "      env:\n        GREETING";
    let other = format!("      user: \"1000\"\n{PLACE}");
    shop.edit("portolan.yaml", PLACE, &other);
    let report = shop.answers(&["check"], 1);
    for part in [
        "services.web.user  impossible",
        "services.web.resources.memory  degraded",
    ] {
        assert!(report.contains(part), "no `{part}` in {report}");
    }
    shop.edit("portolan.yaml", &other, PLACE);
}

fn comes_up(shop: &Shop) {
    let report = shop.up();
    assert_eq!(
        (&report["outcome"], &report["changed"]),
        (&"converged".into(), &true.into()),
        "{report}"
    );
    let resources = report["status"]["resources"].as_array().unwrap();
    let web = resources.iter().find(|one| one["id"] == "Service/web").unwrap();
    assert_eq!(web["endpoints"][0], format!("http://{}", shop.address), "{web}");
    shop.replicas(2);
    let page = shop.get("/").body;
    for (part, reason) in [
        (
            "A brass astrolabe",
            "the catalog is found by its name, and the migration ran before it",
        ),
        ("requests ", "the sidecar answers on the replica's own address"),
    ] {
        assert!(page.contains(part), "{reason}: {page}");
    }
    assert_eq!(
        shop.add_item("A sextant").status,
        201,
        "the secret has its value in the container"
    );
    assert!(shop.get("/").body.contains("A sextant"));
    assert_eq!(migrations(shop), 1);
}

/// The value stands in the env file, and below the run folder as long as its container is there: nowhere else, and in
/// nothing that a command says.
fn no_secret_leaves_its_place(shop: &Shop) {
    const VALUE: &str = "open-sesame";
    let env_file = fs::read_to_string(shop.folder.join("shop.env")).unwrap();
    assert!(env_file.contains(VALUE), "the test looks for the value that is used");
    let home = shop.home.portolan_home();
    let kept = files_below(&home).into_iter().filter(|path| !path.starts_with("run"));
    for path in kept.filter(|path| home.join(path).is_file()) {
        let bytes = fs::read(home.join(&path)).unwrap_or_default();
        let found = bytes.windows(VALUE.len()).any(|part| part == VALUE.as_bytes());
        assert!(!found, "{} holds the secret", path.display());
    }
    for command in ["up -vv", "plan -o json", "status -o json", "history -o json", "logs"] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let text = said(&shop.portolan(&arguments));
        assert!(!text.contains(VALUE), "portolan {command} says the secret");
    }
    let log = home.join("run/apps/default.shop/supervisor.log");
    assert!(
        !fs::read_to_string(log).unwrap().contains(VALUE),
        "the supervisor's log"
    );
}

/// Says `portolan apply`, and with it that what a person kills is found.
fn unchanged_is_silent_and_heals(shop: &Shop) {
    let apply = ["apply", "-o", "json"];
    assert_eq!(shop.report(&apply)["changed"], false);
    let killed = container(shop, "web");
    kill(killed, "KILL");
    until("the kill is noticed", LIMIT, || (!is_alive(killed)).then_some(()));
    let report = shop.report(&apply);
    assert_eq!(report["changed"], false, "no write to the platform: {report}");
    assert_eq!(report["outcome"], "converged");
    shop.replicas(2);
    let restarts = || {
        let status = shop.report(&["status", "-o", "json"]);
        let resources = status["resources"].as_array().unwrap().clone();
        let web = resources.into_iter().find(|one| one["id"] == "Service/web").unwrap();
        web["replicas"]["restarts"].as_u64().filter(|count| *count > 0)
    };
    until("status counts the restart", LIMIT, restarts);
    assert!(shop.answers(&["plan"], 0).contains("no changes"));
}

fn a_change_of_source_is_served_on_the_same_address(shop: &Shop) {
    let [_, old, _] = shop.whoami();
    shop.edit(
        "web/web.c",
        "Charts, compasses and cordage",
        "Maps, compasses and cordage",
    );
    let plan = shop.answers(&["plan"], 2);
    assert!(plan.contains("~ update Service/web"), "{plan}");
    assert!(plan.contains("(known after build)"), "{plan}");
    assert!(
        !plan.contains("Service/catalog"),
        "only what changes is planned: {plan}"
    );
    assert_eq!(shop.up()["outcome"], "converged");
    let [_, new, headline] = shop.whoami();
    assert_ne!(old, new);
    assert_eq!(headline, "Maps, compasses and cordage");
    assert_eq!(migrations(shop), 1, "it had not changed");
    assert!(
        shop.get("/").body.contains("A sextant"),
        "the volume outlives an update"
    );
}

fn scales(shop: &Shop) {
    shop.edit("portolan.yaml", "scale: {min: 2}", "scale: {min: 3}");
    let plan = shop.answers(&["plan"], 2);
    assert!(plan.contains("~ replicas: 2 -> 3"), "{plan}");
    assert!(plan.contains("0 to create, 1 to update, 0 to delete"), "{plan}");
    let [_, before, _] = shop.whoami();
    shop.up();
    shop.replicas(3);
    assert_eq!(shop.whoami()[1], before, "the same revision, one replica more");
}

fn renames_a_service(shop: &Shop) {
    shop.edit("portolan.yaml", "\n    catalog:\n", "\n    inventory:\n");
    shop.edit("portolan.yaml", "${services.catalog.url}", "${services.inventory.url}");
    shop.edit("portolan.yaml", "after: [catalog]", "after: [inventory]");
    let plan = shop.answers(&["plan"], 2);
    for line in [
        "+ create Service/inventory",
        "~ update Service/web",
        "- delete Service/catalog",
    ] {
        assert!(plan.contains(line), "no `{line}` in {plan}");
    }
    shop.up();
    let page = shop.get("/").body;
    assert!(
        page.contains("A sextant"),
        "the same volume, under another name of its service: {page}"
    );
    assert!(shop.answers(&["plan"], 0).contains("no changes"));
}

fn removes_a_service(shop: &Shop) {
    let text = fs::read_to_string(shop.folder.join("portolan.yaml")).unwrap();
    let extra = "  services:\n    extra:\n      build: {context: ., dockerfile: stats/Dockerfile}\n      ports: [{name: http, port: 9100}]\n";
    fs::write(
        shop.folder.join("portolan.yaml"),
        text.replacen("  services:\n", extra, 1),
    )
    .unwrap();
    shop.up();
    fs::write(shop.folder.join("portolan.yaml"), text).unwrap();
    let plan = shop.answers(&["plan"], 2);
    assert!(plan.contains("- delete Service/extra"), "{plan}");
    assert!(plan.contains("0 to create, 0 to update, 1 to delete"), "{plan}");
    shop.up();
    let status = shop.answers(&["status"], 0);
    assert!(!status.contains("extra"), "{status}");
    assert_eq!(processes(shop, "stats").len(), 3, "those of the sidecars alone");
}

fn data_outlives_a_delete(shop: &Shop, before: &portolan_tests::machine::Picture) {
    let visits = shop.visits();
    shop.answers(&["delete", "--yes"], 0);
    leaves(shop, before, DATA);
    assert!(
        fs::exists(
            shop.home
                .portolan_home()
                .join("data/apps/default.shop/volumes/data/shop/items")
        )
        .unwrap()
    );
    shop.up();
    assert_eq!(shop.visits(), visits + 1, "it goes on where it was");
    assert_eq!(
        migrations(shop),
        0,
        "its success is on record, and its logs went with the delete"
    );
}

#[test]
fn a_broken_update_leaves_the_old_revision_serving() {
    if !is_root() {
        return skip(
            "a_broken_update_leaves_the_old_revision_serving",
            "containers are started by root",
        );
    }
    let shop = Shop::new(18181);
    shop.up();
    let [_, serving, _] = shop.whoami();

    shop.edit("web/web.c", "#define HEADLINE", "#define HEADLNE");
    let output = shop.portolan(&["up"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["error[BuildFailed]", "web/Dockerfile:", "HEADLINE"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    assert_eq!(shop.whoami()[1], serving);

    shop.edit("web/web.c", "#define HEADLNE", "#define HEADLINE");
    shop.edit(
        "portolan.yaml",
        "ready: {http: {path: /ready}, interval: 1s}\n        live: {http",
        "ready: {http: {path: /nowhere}, interval: 200ms}\n        live: {http",
    );
    shop.edit(
        "portolan.yaml",
        "scale: {min: 2}",
        "scale: {min: 2}\n      rollout: {deadline: 4s}",
    );
    let output = shop.portolan(&["up"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "error[ProgressDeadlineExceeded]",
        "/nowhere: status 404",
        "generation 1 serves again",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    assert_eq!(shop.whoami()[1], serving);
    assert!(shop.answers(&["status"], 0).contains("held, an older one serves"));
    assert!(shop.answers(&["history"], 0).contains("rolled back to 1"));
}

/// Moments of an `up` at which it is asked to stop, in milliseconds: in the build, between the calls, while it waits.
const MOMENTS: [u64; 12] = [5, 20, 60, 120, 250, 400, 700, 1000, 1400, 1900, 2500, 3300];

#[test]
fn up_can_be_stopped_at_any_moment() {
    if !is_root() {
        return skip("up_can_be_stopped_at_any_moment", "containers are started by root");
    }
    let shop = Shop::new(18182);
    let mut headline = "Charts, compasses and cordage".to_string();
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        let next = format!("Charts of {number} harbours");
        shop.edit("web/web.c", &headline, &next);
        headline = next;
        let signal = if number % 2 == 0 { "INT" } else { "TERM" };
        let mut up = shop.home.portolan(&shop.folder, ["up"]);
        let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        kill(up.id(), signal);
        let code = ended(&mut up);
        // In its first moments the program has not yet asked to hear of signals, and simply ends by them.
        assert!(
            [Some(130), Some(0), None].contains(&code),
            "{signal} after {moment} ms: {code:?}"
        );
    }
    assert_eq!(shop.up()["outcome"], "converged");
    shop.replicas(2);
    assert_eq!(shop.whoami()[2], headline);
    assert_eq!(migrations(&shop), 1, "however often it was stopped");
    assert!(shop.answers(&["plan"], 0).contains("no changes"));
}

fn ended(child: &mut Child) -> Option<i32> {
    until("an interrupted `up` ends", LIMIT, || child.try_wait().unwrap()).code()
}

/// How often the migration has run since its logs began.
fn migrations(shop: &Shop) -> usize {
    let logs = shop.answers(&["logs", "migrate"], 0);
    logs.lines()
        .filter(|line| line.contains("the data is as revision"))
        .count()
}

/// Nothing that was not there before, but what `kept` names. The supervisor ends a moment after the command.
fn leaves(shop: &Shop, before: &portolan_tests::machine::Picture, kept: &[&str]) {
    let mut left = Vec::new();
    let start = std::time::Instant::now();
    while start.elapsed() < LIMIT {
        left = shop.picture(kept).beyond(before);
        if left.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("left behind:\n{}", left.join("\n"));
}

/// A process of the shop's by the name of its program.
fn container(shop: &Shop, program: &str) -> u32 {
    *processes(shop, program).first().expect("it runs")
}

fn processes(shop: &Shop, program: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let named: Vec<u32> = pids.filter(|pid| comm(*pid) == program).collect();
    match shop.home.user() {
        Some(user) => user.processes().into_iter().filter(|pid| named.contains(pid)).collect(),
        None => {
            let is_ours = |pid: &u32| cgroup_of(*pid).contains("/portolan/default.shop.");
            named.into_iter().filter(is_ours).collect()
        }
    }
}

fn comm(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // One that waits to be reaped is gone.
    let lives = fs::read_link(format!("/proc/{pid}/exe")).is_ok();
    if lives { name.trim().to_string() } else { String::new() }
}

fn cgroup_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default()
}

fn is_alive(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap()
}

/// By the shell's own `kill`: not every machine has a program of that name.
fn kill(pid: u32, signal: &str) {
    let killed = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {pid}")])
        .status();
    assert!(killed.unwrap().success());
}
