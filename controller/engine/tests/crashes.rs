//! Every story again, cut off at every single place: the next run must come to the same end, with nothing made twice and
//! nothing left over.

mod harness;

use std::time::Duration;

use harness::manifests::{apply, delete, failing, retry, shop, with};
use harness::{Cut, Sim};
use portolan_engine::{EngineEvent, OutcomeKind, Work};
use portolan_provider_fake::kinds::JOB;
use serde_json::{Value, json};

/// What is there before, what is then asked for, and what counts as its end.
struct Story {
    name: &'static str,
    before: Vec<Work>,
    work: Work,
    ends: fn(&OutcomeKind) -> bool,
    /// How often the migration may have run in the end.
    runs: u32,
}

fn converged(kind: &OutcomeKind) -> bool {
    *kind == OutcomeKind::Converged
}

fn given_up(kind: &OutcomeKind) -> bool {
    matches!(kind, OutcomeKind::RolledBack { .. } | OutcomeKind::Held(_))
}

fn stories() -> Vec<Story> {
    let web = "/spec/services/web";
    let newer = |pointer: &str, value: Value| apply(with(shop(), pointer, value));
    let up = || vec![apply(shop())];
    let story = |name, before, work| Story {
        name,
        before,
        work,
        ends: converged,
        runs: 1,
    };
    let renamed = {
        let service = shop().pointer(web).cloned().expect("the shop has a web service");
        with(with(shop(), web, json!(null)), "/spec/services/front", service)
    };
    vec![
        story("create", vec![], apply(shop())),
        story("unchanged", up(), apply(shop())),
        story(
            "update",
            up(),
            newer(&format!("{web}/image"), json!("registry.example/web:2")),
        ),
        story("scale", up(), newer(&format!("{web}/scale"), json!({ "min": 3 }))),
        story("remove", up(), newer(web, json!(null))),
        story("rename", up(), apply(renamed)),
        story("delete", up(), delete(shop(), false)),
        story("delete with data", up(), delete(shop(), true)),
        story(
            "create after a delete",
            vec![apply(shop()), delete(shop(), false)],
            apply(shop()),
        ),
        Story {
            runs: 2,
            ..story(
                "new job",
                up(),
                newer("/spec/jobs/migrate/image", json!("registry.example/migrate:2")),
            )
        },
        Story {
            ends: given_up,
            ..story("failed rollout", up(), apply(failing(shop(), "services/web")))
        },
        Story {
            ends: given_up,
            ..story(
                "failed rollout, tried again",
                up(),
                retry(failing(shop(), "services/web")),
            )
        },
        Story {
            ends: given_up,
            ..story("first rollout fails", vec![], apply(failing(shop(), "services/web")))
        },
    ]
}

/// A sim in which the story can begin.
fn begin(story: &Story, lag_ms: u64) -> Sim {
    let mut sim = Sim::new();
    sim.cloud.set_lag(lag_ms);
    sim.shape.read_lag = Duration::from_millis(lag_ms + 100);
    for work in &story.before {
        assert_eq!(sim.run(work).kind(), OutcomeKind::Converged, "{}: before", story.name);
        sim.sleep_ms(lag_ms);
    }
    sim
}

#[test]
fn a_crash_at_any_place_is_made_good_by_the_next_run() {
    for story in stories() {
        cut_everywhere(&story, 0, &[Cut::CrashBefore, Cut::CrashAfter]);
    }
}

/// A crash before an ask looks like one after the ask before it, but for the order of those that are under way together.
#[test]
fn so_is_one_where_reads_lag_behind() {
    for story in stories() {
        cut_everywhere(&story, 700, &[Cut::CrashAfter]);
    }
}

/// The second version was on its way when the first is wanted again: a read that is too old would call that done.
#[test]
fn going_back_half_way_ends_where_it_began() {
    let back = apply(shop());
    let there = apply(with(
        shop(),
        "/spec/services/web/image",
        json!("registry.example/web:2"),
    ));
    let story = Story {
        name: "there and back",
        before: vec![back.clone()],
        work: there.clone(),
        ends: converged,
        runs: 1,
    };
    let before = begin(&story, 700);
    let asks = before.fork().run(&there).asks;
    for at in 0..asks {
        let sim = before.fork();
        sim.drive(&there, Some(Cut::CrashAfter(at)));
        assert_eq!(sim.run(&back).kind(), OutcomeKind::Converged, "cut at {at}");
        assert_eq!(sim.shown(), before.shown(), "cut at {at}");
    }
}

#[test]
fn an_interrupt_at_any_place_is_finished_by_the_next_run() {
    for story in stories() {
        cut_everywhere(&story, 0, &[Cut::Interrupt]);
    }
}

fn cut_everywhere(story: &Story, lag_ms: u64, cuts: &[fn(usize) -> Cut]) {
    let before = begin(story, lag_ms);
    let whole = before.fork();
    let run = whole.run(&story.work);
    let asks = run.asks;
    let kind = run.kind();
    assert!((story.ends)(&kind), "{}: {kind:?}", story.name);
    for at in 0..asks {
        for cut in cuts {
            let sim = before.fork();
            let run = sim.drive(&story.work, Some(cut(at)));
            let told = |event: &&EngineEvent| **event == EngineEvent::Interrupted;
            assert!(run.events.iter().filter(told).count() <= 1, "{:?}: told once", cut(at));
            check_end(
                story,
                &sim,
                &whole,
                &format!("{}, {:?}, lag {lag_ms}", story.name, cut(at)),
            );
        }
    }
}

fn check_end(story: &Story, sim: &Sim, whole: &Sim, at: &str) {
    let kind = sim.run(&story.work).kind();
    assert!((story.ends)(&kind), "{at}: {kind:?}");
    assert_eq!(sim.cloud.violations(), [""; 0], "{at}");
    assert_eq!(sim.shown(), whole.shown(), "{at}");
    assert!(
        sim.cloud.runs(&sim.shops(JOB, "migrate")) <= story.runs,
        "{at}: the migration ran too often"
    );
    let before = sim.cloud.writes().len();
    if sim.run(&story.work).kind() == OutcomeKind::Converged {
        assert_eq!(sim.cloud.writes().len(), before, "{at}: and then silence");
    }
}
