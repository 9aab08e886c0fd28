//! What the target remembers of a generation that failed.

mod harness;

use harness::Sim;
use harness::manifests::{apply, delete, failing, hello, retry, with};
use portolan_core::observation::Held;
use portolan_engine::journal::Journal;
use portolan_engine::{OutcomeKind, Work};
use portolan_provider_fake::{Called, Fault, On, answer_lost};
use serde_json::json;

/// A sim in which an update has failed and what was before serves again.
fn held() -> (Sim, Work) {
    let sim = Sim::new();
    assert_eq!(sim.run(&apply(hello())).kind(), OutcomeKind::Converged);
    let broken = apply(failing(hello(), "services/web"));
    assert!(matches!(sim.run(&broken).kind(), OutcomeKind::RolledBack { .. }));
    (sim, broken)
}

fn noted(sim: &Sim, work: &Work) -> Option<Held> {
    sim.cloud.noted(&sim.scope(work))
}

fn notes(sim: &Sim) -> usize {
    let calls = sim.cloud.calls();
    calls.iter().filter(|call| matches!(call, Called::Note(_))).count()
}

#[test]
fn what_is_held_is_not_tried_again_by_who_has_lost_the_journal() {
    let (sim, broken) = held();
    sim.journal.forget();
    let before = (sim.cloud.writes().len(), notes(&sim));
    let outcome = sim.run(&broken).outcome();
    let OutcomeKind::Held(failure) = outcome.kind else {
        panic!("{:?}", outcome.kind)
    };
    assert_eq!((failure.reason.as_str(), outcome.generation), ("Crashed", 2));
    let status = outcome.status.expect("the target was seen");
    assert_eq!(status.observed_generation, 2, "no less than what was told before");
    let record = sim.journal.load(&broken.key()).expect("memory can be read");
    assert_eq!(record.held.map(|hold| hold.generation), Some(2), "learnt anew");
    assert!(matches!(sim.run(&broken).kind(), OutcomeKind::Held(_)));
    assert_eq!((sim.cloud.writes().len(), notes(&sim)), before, "in silence");
}

#[test]
fn it_is_tried_again_when_somebody_says_so_and_anything_newer_is_by_itself() {
    let (sim, broken) = held();
    sim.journal.forget();
    let before = sim.cloud.writes().len();
    sim.run(&retry(failing(hello(), "services/web")));
    assert!(sim.cloud.writes().len() > before, "the user may");
    sim.journal.forget();
    let newer = with(hello(), "/spec/services/web/image", json!("registry.example/web:2"));
    let outcome = sim.run(&apply(newer)).outcome();
    assert_eq!((outcome.kind, outcome.generation), (OutcomeKind::Converged, 3));
    assert_eq!(noted(&sim, &broken), None, "and with that the hold has ended");
}

#[test]
fn a_note_that_a_journal_or_a_tag_is_newer_than_is_nothing_to_go_by() {
    let (sim, broken) = held();
    let note = noted(&sim, &broken).expect("it is held");
    let newer = with(hello(), "/spec/services/web/image", json!("registry.example/web:2"));
    assert_eq!(sim.run(&apply(newer)).kind(), OutcomeKind::Converged);
    for journal_is_lost in [false, true] {
        if journal_is_lost {
            sim.journal.forget();
        }
        sim.cloud
            .note(&sim.scope(&broken), Some(&note))
            .expect("it can be noted");
        let before = sim.cloud.writes().len();
        sim.run(&broken);
        assert!(sim.cloud.writes().len() > before, "journal lost: {journal_is_lost}");
    }
}

#[test]
fn a_note_that_did_not_arrive_is_made_by_the_next_run() {
    let sim = Sim::new();
    let broken = apply(failing(hello(), "services/web"));
    sim.cloud.fail_next(On::Note, Fault::Refuse(answer_lost()));
    assert!(matches!(sim.run(&broken).kind(), OutcomeKind::Held(_)));
    assert_eq!(noted(&sim, &broken), None);
    assert!(matches!(sim.run(&broken).kind(), OutcomeKind::Held(_)));
    assert_eq!(noted(&sim, &broken).map(|held| held.generation), Some(1));
}

#[test]
fn a_delete_that_is_found_done_is_written_down_with_what_the_target_remembers() {
    let (sim, broken) = held();
    let note = noted(&sim, &broken).expect("it is held");
    sim.run(&delete(hello(), false));
    sim.journal.forget();
    sim.cloud
        .note(&sim.scope(&broken), Some(&note))
        .expect("it can be noted");
    let told = || {
        let status = sim.run(&delete(hello(), false)).outcome().status;
        status.expect("the target was seen").observed_generation
    };
    assert_eq!((told(), told()), (3, 3), "no less when nothing is remembered any more");
}
