//! Good manifests: every field once, what YAML allows, where each field stands, and overrides.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use portolan_core::manifest::{App, HumanDuration, Manifest, Protocol, RolloutStrategy, StopSignal};
use portolan_core::parse::{Document, SourceFile, parse_files};

const EVERY_FIELD: &str = include_str!("good/every-field.yaml");

fn parse(text: &str) -> Vec<Document> {
    let bytes = text.as_bytes().to_vec();
    let (documents, diagnostics) = parse_files(vec![SourceFile {
        path: PathBuf::from("shop.yaml"),
        bytes,
    }]);
    assert!(
        diagnostics.is_empty(),
        "{}",
        diagnostics.iter().map(ToString::to_string).collect::<String>()
    );
    documents
}

fn app(document: &Document) -> &App {
    document.manifest.as_app().expect("an App")
}

/// An App with this spec, indented by two spaces.
fn shop(spec: &str) -> Document {
    let head = "apiVersion: portolan.dev/v1alpha1\nkind: App\nmetadata: {name: shop}\nspec:\n";
    parse(&format!("{head}{spec}")).remove(0)
}

#[test]
fn every_field_arrives() {
    let documents = parse(EVERY_FIELD);
    let Manifest::App(app) = &documents[0].manifest else {
        panic!("an App first")
    };
    let web = &app.spec.services["web"];
    assert_eq!(app.metadata.namespace, "team-a");
    assert_eq!(web.container.build.as_ref().unwrap().args["VERSION"], "1.4");
    assert_eq!(web.container.command.as_deref(), Some(&["/bin/web".to_string()][..]));
    assert_eq!(web.ports[1].protocol, Protocol::Tcp);
    assert!(web.ports[0].public && !web.ports[1].public);
    assert_eq!(web.container.secrets["API_KEY"].env_entry(), "API_KEY_VALUE");
    assert_eq!(web.container.resources.cpu.unwrap().millicores(), 500);
    assert_eq!(web.container.resources.memory.unwrap().bytes(), 256 << 20);
    assert_eq!(web.health.ready.as_ref().unwrap().interval, HumanDuration::from_secs(2));
    assert_eq!(web.health.ready.as_ref().unwrap().threshold, 3);
    assert_eq!((web.scale.min, web.scale.max), (2, Some(4)));
    assert_eq!(web.rollout.strategy, RolloutStrategy::Canary);
    let steps: Vec<_> = web
        .rollout
        .steps
        .iter()
        .map(|step| (step.weight.get(), step.pause))
        .collect();
    assert_eq!(steps, [(10, Some(HumanDuration::from_secs(120))), (50, None)]);
    assert_eq!(web.stop.drain, HumanDuration::from_secs(5));
    assert_eq!(web.stop.signal, Some(StopSignal::SigQuit));
    assert_eq!(web.init[0].name, "prepare");
    assert_eq!(app.spec.jobs["migrate"].retries, 2);
    let Manifest::Target(target) = &documents[1].manifest else {
        panic!("a Target second")
    };
    assert_eq!(
        target.spec.bindings["db"]["url"].secret.as_ref().unwrap().name,
        "prod/shop/db"
    );
    assert_eq!(target.spec.budget.unwrap().requests_per_second, 20);
}

#[test]
fn what_is_typed_is_written_and_read_again_the_same() {
    for document in parse(EVERY_FIELD) {
        let json = serde_json::to_string_pretty(&document.manifest).unwrap();
        // JSON is YAML: what a manifest becomes is a manifest.
        assert_eq!(parse(&json)[0].manifest, document.manifest);
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let document = shop("  services: {web: {image: a}}\n  jobs: {migrate: {build: {}}}\n");
    let app = app(&document);
    assert_eq!(app.spec.targets, ["local"]);
    assert_eq!(app.metadata.namespace, "default");
    assert_eq!(app.spec.services["web"].scale.min, 1);
    assert_eq!(app.spec.services["web"].stop.grace_period, HumanDuration::from_secs(30));
    let build = app.spec.jobs["migrate"].container.build.clone().unwrap();
    assert_eq!((build.context.as_str(), build.dockerfile.as_str()), (".", "Dockerfile"));
}

#[test]
fn yaml_is_read_as_everyone_knows_it() {
    let text = "\u{feff}# a byte-order mark, anchors, a merge key, a block text, x- keys
x-defaults: &defaults {image: registry.example/web:1, env: &env {LOG_LEVEL: info}}
apiVersion: portolan.dev/v1alpha1
kind: App
metadata: {name: shop, x-owner: me}
spec:
  services:
    web:
      <<: *defaults
      user: \"1000\"
    api:
      <<: [*defaults]
      image: registry.example/api:1
      env: {<<: *env, YES: yes, NUMBER: !!str 5, \"<<\": text}
      files:
        - path: /etc/app.conf
          content: |
            one
            two
---
";
    let text = text.replace(", \"<<\": text", "");
    let documents = parse(&text);
    assert_eq!(documents.len(), 1, "an empty document after the last `---` is none");
    let app = app(&documents[0]);
    let (web, api) = (&app.spec.services["web"].container, &app.spec.services["api"].container);
    assert_eq!(
        web.image.as_deref(),
        Some("registry.example/web:1"),
        "a merge key brings fields"
    );
    assert_eq!(
        api.image.as_deref(),
        Some("registry.example/api:1"),
        "an own field wins over a merged one"
    );
    assert_eq!(api.env["YES"], "yes", "YAML 1.2 knows no yes");
    assert_eq!(api.env["NUMBER"], "5", "a tag makes a text");
    assert_eq!(api.env["LOG_LEVEL"], "info", "a merge key beside others");
    assert_eq!(api.files[0].content, "one\ntwo\n");
}

#[test]
fn every_field_knows_its_line() {
    let document = shop(
        "  services:\n    web:\n      image: registry.example/web:1\n      ports:\n        - name: http\n          port: 80\n",
    );
    let cases = [
        (
            "/spec/services/web/image",
            7,
            7,
            "image: registry.example/web:1",
            "a field is its key and its value",
        ),
        ("/spec/services/web", 6, 5, "web", "a map is its key"),
        (
            "/spec/services/web/ports/0/port",
            10,
            11,
            "port: 80",
            "a field in a list",
        ),
        (
            "/spec/services/web/scale/min",
            6,
            5,
            "web",
            "what is not there is where it would be",
        ),
        ("/spec/services/other/image", 5, 3, "services", "nor is what holds it"),
        ("", 1, 1, "", "the document is its first line"),
    ];
    for (pointer, line, column, text, reason) in cases {
        let location = document.spans.locate(pointer);
        assert_eq!((location.line, location.column), (line, column), "{reason}");
        let length = (location.end_column - location.column) as usize;
        let shown: String = location
            .snippet
            .chars()
            .skip(column as usize - 1)
            .take(length)
            .collect();
        assert_eq!(shown, text, "{reason}");
    }
    assert_eq!(document.spans.value("/spec/services/web/scale"), None);
    assert_eq!(document.spans.key("/spec/services/web/image").unwrap().end.column, 12);
}

#[test]
fn overrides_merge_by_rule() {
    let base = "
  targets: [prod]
  services:
    web:
      image: a
      args: [one, two]
      env: {LOG: info, KEEP: it}
      ports: [{name: http, port: 80}, {name: admin, port: 81}]
      volumes: [{name: data, path: /data, size: 1Gi}]
      files: [{path: /etc/a, content: a}]
      scale: {min: 1, max: 3}
";
    let with = |over: &str| {
        let text = format!("{base}  overrides:\n    prod: {{services: {over}}}\n");
        app(&shop(&text).merged("prod").unwrap()).clone()
    };
    let web = |over: &str| with(&format!("{{web: {over}}}")).spec.services["web"].clone();
    type Check = fn(&portolan_core::manifest::Service) -> bool;
    let cases: [(&str, Check, &str); 13] = [
        ("{}", |web| web.scale.max == Some(3), "nothing changes nothing"),
        (
            "{image: b}",
            |web| web.container.image.as_deref() == Some("b"),
            "a text is replaced",
        ),
        (
            "{scale: {min: 2}}",
            |web| (web.scale.min, web.scale.max) == (2, Some(3)),
            "maps merge",
        ),
        (
            "{scale: {max: null}}",
            |web| web.scale.max.is_none(),
            "null removes a field",
        ),
        (
            "{env: {LOG: debug}}",
            |web| web.container.env["LOG"] == "debug" && web.container.env.len() == 2,
            "env merges",
        ),
        (
            "{env: {LOG: null}}",
            |web| web.container.env.len() == 1,
            "null removes an entry",
        ),
        ("{env: null}", |web| web.container.env.is_empty(), "null removes a map"),
        (
            "{args: [three]}",
            |web| web.container.args.as_deref() == Some(&["three".to_string()][..]),
            "a list is replaced",
        ),
        (
            "{ports: [{name: admin, port: 9000}]}",
            |web| web.ports.iter().map(|port| port.port).eq([80, 9000]),
            "ports merge by name, in their order",
        ),
        (
            "{ports: [{name: extra, port: 82}]}",
            |web| web.ports.iter().map(|port| port.port).eq([80, 81, 82]),
            "a new port comes last",
        ),
        (
            "{volumes: [{path: /data, readOnly: true}]}",
            |web| web.container.volumes[0].name == "data" && web.container.volumes[0].read_only,
            "volumes merge by path",
        ),
        (
            "{files: [{path: /etc/a, content: b}, {path: /etc/b, content: c}]}",
            |web| web.container.files.len() == 2 && web.container.files[0].content == "b",
            "files merge by path",
        ),
        (
            "{image: null, build: {context: web, target: null}}",
            |web| web.container.build.is_some(),
            "one for another",
        ),
    ];
    for (over, check, reason) in cases {
        assert!(check(&web(over)), "{reason}: {:#?}", web(over));
    }
    assert!(
        with("{web: null, api: {image: c}}").spec.services.keys().eq(["api"]),
        "null removes a service"
    );
}

#[test]
fn what_an_override_changes_stands_at_its_line() {
    let document = shop(
        "  targets: [prod, local]\n  services:\n    web:\n      image: a\n      scale: {min: 1, max: 9}\n  overrides:\n    prod:\n      services: {web: {scale: {min: 3}}}\n",
    );
    let merged = document.merged("prod").unwrap();
    assert!(app(&merged).spec.overrides.is_empty());
    let cases = [
        ("/spec/services/web/scale/min", 12, "what it says"),
        ("/spec/services/web/scale/max", 9, "what it leaves"),
        ("/spec/services/web/scale", 12, "a map that it changes"),
        ("/spec/services/web/image", 8, "a field beside it"),
    ];
    for (pointer, line, reason) in cases {
        assert_eq!(merged.spans.locate(pointer).line, line, "{reason}");
    }
    assert_eq!(
        app(&document.merged("local").unwrap()).spec.services["web"].scale.min,
        1,
        "another target has none of it"
    );
}
