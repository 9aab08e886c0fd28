//! What real counterparts have answered, replayed against the platform in memory that is modelled on them.
//!
//! A folder for each platform: `vocabulary.json` says what its words mean, and each `*.jsonl` is one transcript. `README.md`
//! says how to add one. Read `transcript.rs` and `vocabulary.rs` for the two formats, then `player.rs`.

mod compare;
mod player;
mod transcript;
mod vocabulary;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portolan_provider_fake::platform::{PLATFORMS, Platform};
use serde_json::{Value, json};

use player::replay;
use transcript::Transcript;
use vocabulary::Vocabulary;

struct Folder {
    platform: &'static Platform,
    vocabulary: Vocabulary,
    transcripts: Vec<Transcript>,
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

fn folder(name: &str) -> Folder {
    let path = here().join(name);
    let platform = PLATFORMS.into_iter().find(|platform| platform.name == name);
    Folder {
        platform: platform.unwrap_or_else(|| panic!("no platform in memory is called {name}")),
        vocabulary: Vocabulary::load(&path.join("vocabulary.json")),
        transcripts: Transcript::load_all(&path),
    }
}

fn folders() -> BTreeSet<String> {
    let entries = std::fs::read_dir(here()).expect("the folder of transcripts");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let names = paths.filter(|path| path.is_dir()).filter_map(|path| {
        let name = path.file_name()?.to_str()?;
        (name != "__pycache__").then(|| name.to_string())
    });
    names.collect()
}

#[test]
fn every_transcript_is_what_its_platform_does() {
    let names = folders();
    for wanted in ["cloud-run-like", "ecs-like"] {
        assert!(names.contains(wanted), "there is no transcript for {wanted}");
    }
    let mut disagreements = Vec::new();
    for name in names {
        let folder = folder(&name);
        assert!(
            !folder.transcripts.is_empty(),
            "{name} has words and nothing said in them"
        );
        for transcript in &folder.transcripts {
            let found = replay(transcript, &folder.vocabulary, folder.platform);
            disagreements.extend(
                found
                    .into_iter()
                    .map(|line| format!("{name}/{}: {line}", transcript.file)),
            );
        }
    }
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

#[test]
fn every_transcript_names_its_source() {
    for name in folders() {
        let folder = folder(&name);
        assert!(folder.vocabulary.source.starts_with("https://"), "{name}: its words");
        for transcript in folder.transcripts {
            let Transcript {
                file,
                header,
                exchanges,
            } = transcript;
            let named = [header.counterpart, header.source, header.made_by.clone()];
            assert!(named.iter().all(|text| !text.is_empty()), "{name}/{file}");
            for exchange in exchanges.iter().filter(|_| header.made_by == "hand") {
                let page = exchange
                    .source
                    .as_ref()
                    .is_some_and(|source| source.starts_with("https://"));
                assert!(page, "{name}/{file}: `{}` names no page", exchange.step);
            }
        }
    }
}

/// The replay can fail: each kind of lie is found out.
#[test]
fn a_transcript_that_lies_is_found_out() {
    let lies: &[(&str, &str, &str, Value)] = &[
        ("ecs-like", "it is told", "/answer/services/0/status", json!("DRAINING")),
        (
            "ecs-like",
            "it is told",
            "/answer/services/0/schedulingStrategy",
            json!("DAEMON"),
        ),
        ("ecs-like", "it is told", "/answer/services/0/desiredCount", json!(7)),
        ("ecs-like", "it is told", "/answer/services/0/somethingNew", json!(true)),
        ("ecs-like", "it is told", "/answer/services", json!([])),
        ("ecs-like", "it is listed", "/answer/serviceArns", json!([])),
        (
            "ecs-like",
            "an update of what nobody has made",
            "/answer/Error/Code",
            json!("AccessDeniedException"),
        ),
        ("cloud-run-like", "the operation goes on", "/answer/done", json!(true)),
        (
            "cloud-run-like",
            "it serves",
            "/answer/ingress",
            json!("INGRESS_TRAFFIC_NONE"),
        ),
        ("cloud-run-like", "it serves", "/answer/etag", json!("\"another\"")),
        (
            "cloud-run-like",
            "an update of what was there before",
            "/status",
            json!(200),
        ),
    ];
    for (name, step, pointer, lie) in lies {
        let mut folder = folder(name);
        let line = folder.transcripts.iter_mut().flat_map(|one| &mut one.exchanges);
        let line = line.into_iter().find(|exchange| exchange.step == *step);
        let line = line.unwrap_or_else(|| panic!("{name} has no step `{step}`"));
        line.lie(pointer, lie.clone());
        let found = folder.transcripts.iter();
        let found = found.flat_map(|one| replay(one, &folder.vocabulary, folder.platform));
        assert!(found.count() > 0, "{name}, {step}: {pointer} may be {lie}");
    }
}
