//! What a read is believed for, where it may show what was so a while ago.

mod harness;

use std::time::Duration;

use harness::manifests::{apply, delete, failing, hello, shop, with};
use harness::{Cut, Sim};
use portolan_core::observation::ResourceState;
use portolan_engine::journal::JournalEntry;
use portolan_engine::machine::Ask;
use portolan_engine::{EngineEvent, OutcomeKind, Work};
use portolan_provider_api::{CallError, ErrorClass};
use portolan_provider_fake::kinds::{JOB, NETWORK, SERVICE};
use portolan_provider_fake::platform::{CLOUD_RUN_LIKE, ECS_LIKE, PLAIN, Platform};
use portolan_provider_fake::{Fault, On, object};
use serde_json::json;

/// Each read is late by something else, up to five seconds: one that is answered later may show what was so before.
fn reads_vary(seed: u64) -> Sim {
    let mut sim = Sim::new();
    sim.cloud.set_lags(5_000, 5_000, Some(seed));
    sim.shape.read_lag = Duration::from_millis(5_500);
    sim
}

#[test]
fn what_was_made_at_an_account_is_not_made_once_more_when_the_app_comes_back() {
    for seed in 0..60 {
        let here = reads_vary(seed);
        assert_eq!(here.run(&apply(shop())).kind(), OutcomeKind::Converged, "{seed}");
        let mut there = here.fork();
        there.journal = here.journal.clone();
        there
            .cloud
            .objects()
            .keys()
            .for_each(|id| there.cloud.remove_by_hand(id));
        there.cloud.set_realm("another-account");
        there.sleep_ms(10_000);
        assert_eq!(there.run(&apply(shop())).kind(), OutcomeKind::Converged, "{seed}");
        assert_eq!(here.run(&apply(shop())).kind(), OutcomeKind::Converged, "{seed}");
        assert_eq!(here.cloud.violations(), [""; 0], "{seed}");
    }
}

#[test]
fn what_a_read_has_shown_is_not_made_once_more_by_an_older_one() {
    for seed in 0..60 {
        let sim = reads_vary(seed);
        let migration = On::Write(sim.shops(JOB, "migrate"));
        sim.cloud.fail_next(migration.clone(), Fault::TimeOut { ms: 1_000 });
        sim.cloud.fail_next(migration, Fault::OtherWriter);
        assert_eq!(sim.run(&apply(shop())).kind(), OutcomeKind::Converged, "{seed}");
        assert_eq!(sim.cloud.violations(), [""; 0], "{seed}");
    }
}

/// A service drains for half a minute, and is not shown in lists while it does.
#[test]
fn what_was_seen_gone_by_an_old_read_is_waited_for() {
    for seed in 0..60 {
        let mut sim = Sim::of(&ECS_LIKE);
        sim.cloud.set_lags(0, 5_000, Some(seed));
        sim.shape.read_lag = Duration::from_millis(5_500);
        let two = with(
            hello(),
            "/spec/services/worker",
            json!({ "image": "registry.example/worker:1" }),
        );
        assert_eq!(sim.run(&apply(two)).kind(), OutcomeKind::Converged, "{seed}");
        let run = sim.run(&apply(hello()));
        let anew = run
            .events
            .iter()
            .filter(|event| matches!(event, EngineEvent::PlanningAnew { .. }));
        assert_eq!(anew.count(), 0, "{seed}");
        assert_eq!(run.kind(), OutcomeKind::Converged, "{seed}");
    }
}

/// Descriptions do not.
fn lists_lag(platform: &Platform, lag_ms: u64) -> Sim {
    let mut sim = Sim::of(platform);
    sim.cloud.set_lags(lag_ms, 0, None);
    sim.shape.read_lag = Duration::from_millis(lag_ms + lag_ms / 10);
    sim
}

/// The run ends without a word once that was asked for the first time, and done.
fn cut_after(sim: &Sim, work: &Work, is_it: impl Fn(&Ask) -> bool) {
    let (mut asks, mut first) = (0, None);
    sim.fork().drive_with(work, &mut |ask| {
        if is_it(ask) {
            first.get_or_insert(asks);
        }
        asks += 1;
    });
    sim.drive(work, Some(Cut::CrashAfter(first.expect("it is asked for"))));
}

/// What was made is remembered until it is seen to be gone, whichever generation made it.
#[test]
fn a_delete_after_what_never_converged_leaves_nothing_over() {
    for platform in [&PLAIN, &ECS_LIKE, &CLOUD_RUN_LIKE] {
        let sim = lists_lag(platform, 60_000);
        let scope = sim.scope(&apply(hello()));
        let deny = |kind, name| {
            let denied = CallError::new(ErrorClass::Denied, "Made", "it was made to fail");
            sim.cloud
                .fail_next(On::Write(object(&scope, kind, name)), Fault::Refuse(denied));
        };
        deny(SERVICE, "web");
        assert!(matches!(sim.run(&apply(hello())).kind(), OutcomeKind::Held(_)));
        deny(NETWORK, "app");
        assert!(matches!(sim.run(&delete(hello(), false)).kind(), OutcomeKind::Held(_)));
        assert_eq!(sim.run(&delete(hello(), false)).kind(), OutcomeKind::Converged);
        assert_eq!(sim.shown().into_keys().collect::<Vec<_>>(), [], "{}", platform.name);
    }
}

/// A service that drains blocks its network, and is in no list.
#[test]
fn what_drains_is_waited_for_by_the_next_delete_too() {
    let sim = lists_lag(&ECS_LIKE, 5_000);
    let never_ready = apply(failing(hello(), "services/web"));
    assert!(matches!(sim.run(&never_ready).kind(), OutcomeKind::Held(_)));
    let is_it = |ask: &Ask| matches!(ask, Ask::Call { request, .. } if request.id.kind == SERVICE.name);
    cut_after(&sim, &delete(hello(), false), is_it);
    assert_eq!(sim.run(&delete(hello(), false)).kind(), OutcomeKind::Converged);
    assert_eq!(sim.shown().into_keys().collect::<Vec<_>>(), []);
}

/// Nor does the record know its name any more.
#[test]
fn what_drains_and_nobody_knows_is_waited_for() {
    let sim = lists_lag(&ECS_LIKE, 0);
    assert_eq!(sim.run(&apply(hello())).kind(), OutcomeKind::Converged);
    let is_it = |ask: &Ask| matches!(ask, Ask::Call { request, .. } if request.id.kind == SERVICE.name);
    cut_after(&sim, &delete(hello(), false), is_it);
    sim.journal.forget();
    assert_eq!(sim.run(&delete(hello(), false)).kind(), OutcomeKind::Converged);
    assert_eq!(sim.shown().into_keys().collect::<Vec<_>>(), []);
}

#[test]
fn data_that_a_delete_has_kept_is_erased_by_the_next_one_that_may() {
    let sim = lists_lag(&PLAIN, 60_000);
    for (work, left) in [
        (apply(shop()), 5),
        (delete(shop(), false), 1),
        (delete(shop(), true), 0),
    ] {
        assert_eq!(sim.run(&work).kind(), OutcomeKind::Converged);
        assert_eq!(sim.shown().len(), left);
    }
}

/// What was deleted a moment ago looks as it shall be: only the journal knows that it is to be made again.
#[test]
fn what_was_there_before_a_delete_is_not_taken_for_what_is_made_again() {
    let mut sim = Sim::new();
    assert_eq!(sim.run(&apply(shop())).kind(), OutcomeKind::Converged);
    sim.sleep_ms(60_000);
    assert_eq!(sim.run(&delete(shop(), true)).kind(), OutcomeKind::Converged);
    sim.cloud.set_lags(60_000, 60_000, None);
    sim.shape.read_lag = Duration::from_millis(61_500);
    let begins = |ask: &Ask| matches!(ask, Ask::Write(entries) if matches!(entries[0], JournalEntry::Begun { .. }));
    cut_after(&sim, &apply(shop()), begins);
    let before = sim.cloud.writes().len();
    assert_eq!(sim.run(&apply(shop())).kind(), OutcomeKind::Converged);
    let made = sim.writes_since(before);
    let place = |made_of: &str| made.iter().position(|line| line.starts_with(made_of));
    assert!(place("create Job/migrate") < place("create Service/web"), "{made:?}");
    assert!(place("create Job/migrate").is_some(), "{made:?}");
}

/// Somebody changes a service while the run looks at it, it is put back, and that takes long: what a read shows of before
/// is what was put back, and says nothing about how far that has come.
#[test]
fn what_is_put_back_is_not_taken_for_what_was_there_before() {
    let mut put_back = 0;
    for seed in 0..60 {
        let sim = reads_vary(seed);
        let web = sim.shops(SERVICE, "web");
        let is_ready = || sim.cloud.truth(&web, |_, state| *state == ResourceState::Ready) == Some(true);
        let mut ready_at = None;
        let mut is_changed = false;
        let run = sim.drive_with(&apply(shop()), &mut |ask| {
            let writes = matches!(ask, Ask::Call { request, .. } if request.id == web);
            if writes {
                let ms = if is_changed { 30_000 } else { 8_000 };
                sim.cloud.fail_next(On::Write(web.clone()), Fault::Slow { ms });
            } else if is_ready() && !is_changed {
                let since = sim.now_ms() - *ready_at.get_or_insert(sim.now_ms());
                is_changed = since > 300;
            }
            if is_changed && sim.cloud.write_times(&web).len() == 1 {
                let mut object = sim.cloud.objects()[&web].clone();
                object.body["by"] = json!("somebody");
                sim.cloud.put_by_hand(web.clone(), object);
            }
        });
        assert_eq!(run.kind(), OutcomeKind::Converged, "{seed}");
        assert!(is_ready(), "{seed}");
        put_back += sim.cloud.write_times(&web).len() - 1;
    }
    assert!(put_back > 5, "{put_back} of 60 saw it");
}
