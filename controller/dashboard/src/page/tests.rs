//! What the page says, of values that hold everything that must not become markup.

use portolan_engine::controller::{AppReport, Standing, ToldEvent};
use portolan_engine::machine::Timestamp;
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp(1_795_708_980_000);

fn told(app: &str, event: Value) -> ToldEvent {
    ToldEvent {
        at: Timestamp(NOW.0 - 75_000),
        namespace: "default".into(),
        app: app.into(),
        target: "here".into(),
        event: serde_json::from_value(event).unwrap(),
    }
}

fn report(app: &str, standing: Standing) -> AppReport {
    AppReport {
        namespace: "default".into(),
        app: app.into(),
        target: "here".into(),
        standing,
        message: None,
        plan: None,
        generation: 3,
        next: None,
        last: None,
        status: None,
    }
}

fn page(apps: &[AppReport], events: &[ToldEvent], only: Option<Only>) -> String {
    of(&Shown {
        apps,
        events,
        only,
        now: NOW,
    })
}

/// The rows of the table of events, without markup; cells are told apart by a bar.
fn rows(page: &str) -> Vec<String> {
    let (_, table) = page.split_once("<h2>").unwrap();
    let rows = table.split("<tr>").skip(2).map(|row| row.replace("<td>", "|"));
    rows.map(|row| {
        let texts = row.split('<').enumerate().map(|(nth, text)| match nth {
            0 => text.to_string(),
            _ => text.split_once('>').unwrap().1.to_string(),
        });
        texts.collect::<String>()
    })
    .collect()
}

#[test]
fn events_are_told_in_words() {
    let step = json!({"number": 1, "of": 2, "verb": "update", "id": "Service/web"});
    let failure = json!({"reason": "CrashLoop", "message": "container `web` of `web` ended with exit code 3"});
    let error =
        json!({"class": {"retry": {"after": null}}, "code": "Throttled", "message": "the target is asked too often"});
    let cases = [
        (
            json!({"event": "planned", "generation": 3, "creates": 1, "updates": 2, "deletes": 0, "unchanged": 4}),
            "&#8635; generation 3: 1 to create, 2 to update, 0 to delete|",
        ),
        (
            json!({"event": "stepDone", "step": step}),
            "&#8635; updated Service/web|",
        ),
        (
            json!({"event": "stepRetrying", "step": step, "error": error, "at": 1}),
            "&#8214; trying Service/web again|Throttled the target is asked too often",
        ),
        (
            json!({"event": "stateChanged", "id": "Service/web", "state": "ready", "replicas": {"wanted": 2, "ready": 2, "updated": 2, "restarts": 0}}),
            "&#10003; Service/web is ready 2/2|",
        ),
        (
            json!({"event": "rollingBack", "generation": 3, "toGeneration": 2, "failure": failure}),
            "&#10007; rolling back to generation 2|CrashLoop container `web` of `web` ended with exit code 3",
        ),
        (
            json!({"event": "awaitingApproval", "plan": "sha256:1", "reasons": ["11 resources go", "data goes"]}),
            "&#8214; the plan waits for a yes|11 resources go; data goes",
        ),
        (
            json!({"event": "converged", "generation": 3, "changed": true}),
            "&#10003; generation 3 is as it shall be|",
        ),
    ];
    for (event, expected) in cases {
        let page = page(&[], &[told("shop", event)], None);
        assert_eq!(rows(&page), [format!("|16:01:45 75s ago|default/shop|here|{expected}")]);
    }
}

#[test]
fn the_newest_comes_first_and_one_app_can_be_seen_alone() {
    let converged = |generation: u64| json!({"event": "converged", "generation": generation, "changed": true});
    let events = [
        told("shop", converged(1)),
        told("bank", converged(2)),
        told("shop", converged(3)),
    ];
    let apps = [
        report("bank", Standing::Held),
        report("shop", Standing::AwaitingApproval),
    ];
    let generations = |page: &str| -> Vec<String> {
        let words = |row: String| row.split("generation ").nth(1).unwrap()[..1].to_string();
        rows(page).into_iter().map(words).collect()
    };
    let all = page(&apps, &events, None);
    assert_eq!(generations(&all), ["3", "2", "1"]);
    assert!(all.contains("href=\"/apps/default/shop\""));
    assert!(all.contains("&#10007;</span> held") && all.contains("&#8214;</span> awaiting approval"));
    let shop = Only {
        namespace: "default",
        app: "shop",
    };
    let alone = page(&apps, &events, Some(shop));
    assert_eq!(generations(&alone), ["3", "1"]);
    assert!(!alone.contains("bank"));
    assert!(alone.contains("href=\"/\""), "there is a way back");
}

#[test]
fn nothing_that_is_shown_is_markup() {
    let evil = "'><img src=\"x\" onerror=alert(1)>&";
    let failure = json!({"reason": evil, "message": evil});
    let held = json!({"event": "held", "generation": 1, "failure": failure});
    let mut app = report(evil, Standing::Failing);
    app.message = Some(evil.into());
    app.target = evil.into();
    app.status = serde_json::from_value(json!({
        "namespace": "default", "app": "shop", "target": "here", "observedGeneration": 1, "conditions": [],
        "resources": [{"id": format!("Service/{evil}"), "state": "ready", "endpoints": [evil, "javascript:alert(1)"]}],
    }))
    .unwrap();
    let mut event = told(evil, held);
    event.target = evil.into();
    let only = Only {
        namespace: "default",
        app: evil,
    };
    for only in [None, Some(only)] {
        let page = page(&[app.clone()], &[event.clone()], only);
        let shown = page
            .matches("&#39;&gt;&lt;img src=&quot;x&quot; onerror=alert(1)&gt;&amp;")
            .count();
        assert!(shown >= 10, "{shown}: {page}");
        assert!(!page.contains("<img") && !page.contains("'>") && !page.contains("href=\"javascript"));
        assert!(!page.contains("<script") && !page.contains("src=\"http"));
    }
}
