//! Plans that are kept in a file, looked at, and carried out later, with `examples/hello` on this kernel.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use portolan_tests::example::Example;
use portolan_tests::http::get;
use portolan_tests::{is_root, skip};

#[test]
fn a_plan_is_kept_carried_out_once_and_refused_when_the_world_has_moved() {
    if !is_root() {
        return skip(
            "a_plan_is_kept_carried_out_once_and_refused_when_the_world_has_moved",
            "containers are started by root",
        );
    }
    let hello = Example::up("hello", |manifest| manifest.replace("port: 8090", "port: 18196"));
    hello.edit("hello.c", "hello from %s", "ahoy from %s");
    let told = hello.ends_with(2, &["plan", "--out", "kept.json"]);
    assert!(told.contains("image: "), "{told}");
    assert!(
        told.contains("`portolan apply --plan kept.json` carries it out"),
        "{told}"
    );
    let mode = fs::metadata(hello.folder.join("kept.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(greeting().starts_with("hello"), "nothing was done");

    // What is written into the manifest afterwards is no part of the plan.
    hello.edit("portolan.yaml", "build: {}", "build: {}\n      scale: {min: 2}");
    let shown = hello.ends_with(2, &["apply", "--plan", "kept.json", "--dry-run"]);
    assert!(!shown.contains("replicas"), "{shown}");
    hello.says(&["apply", "--plan", "kept.json"]);
    assert!(greeting().starts_with("ahoy"));
    let again = hello.says(&["apply", "--plan", "kept.json", "-o", "json"]);
    assert!(again.contains(r#""changed": false"#), "done already: {again}");

    hello.ends_with(2, &["plan", "--out", "kept.json"]);
    hello.edit("hello.c", "ahoy from %s", "welcome from %s");
    for told in [
        &["apply", "--plan", "kept.json"][..],
        &["apply", "--plan", "kept.json", "--dry-run"],
    ] {
        let refused = hello.fails(told);
        let said = "error[PlanOutdated]: what services/hello is built from has changed since the plan was kept";
        assert!(refused.contains(said) && refused.contains("build: {}"), "{refused}");
    }
    assert!(greeting().starts_with("ahoy"), "nothing was built or touched");
    hello.says(&["apply"]);
    hello.edit("hello.c", "welcome from %s", "ahoy from %s");
    let refused = hello.fails(&["apply", "--plan", "kept.json"]);
    assert!(
        refused.contains("error[PlanOutdated]: Service/hello has changed at the target"),
        "{refused}"
    );
    assert!(greeting().starts_with("welcome"), "nothing was touched");

    for dry in [
        &["delete", "--volumes", "--dry-run"][..],
        &["rollback", "--dry-run"],
        &["up", "--dry-run", "--prune-threshold", "0"],
    ] {
        let before = hello.says(&["history", "-o", "json"]);
        let output = hello.home.portolan(&hello.folder, dry).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 2)), "{dry:?}: {output:?}");
        assert_eq!(hello.says(&["history", "-o", "json"]), before, "{dry:?}");
    }
    assert!(greeting().starts_with("welcome"), "nothing was touched");
}

#[test]
fn what_is_no_plan_is_refused_with_its_reason() {
    if !is_root() {
        return skip(
            "what_is_no_plan_is_refused_with_its_reason",
            "containers are started by root",
        );
    }
    let hello = Example::up("hello", |manifest| manifest.replace("port: 8090", "port: 18197"));
    let cases = [
        ("", "EOF"),
        ("hello: world", "expected value"),
        (r#"{"planFile": 99}"#, "it is of version 99, and this portolan reads 2"),
        (
            r#"{"planFile": 1, "options": {}, "plans": [], "manifests": []}"#,
            "it is of version 1, and this portolan reads 2",
        ),
        (
            r#"{"planFile": 2, "options": {}, "plans": [], "manifests": [], "more": 1}"#,
            "unknown field `more`",
        ),
    ];
    for (text, cause) in cases {
        fs::write(hello.folder.join("plan.json"), text).unwrap();
        let said = hello.fails(&["apply", "--plan", "plan.json"]);
        assert!(
            said.contains("error[PlanUnreadable]: cannot use plan.json as a plan"),
            "{said}"
        );
        assert!(said.contains(cause), "no `{cause}` in {said}");
    }
}

fn greeting() -> String {
    get(SocketAddr::from(([127, 0, 0, 1], 18196)), "/").unwrap().body
}
