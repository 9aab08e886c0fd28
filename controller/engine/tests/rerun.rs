//! Running a job again.

mod harness;

use std::time::Duration;

use harness::bench::Bench;
use harness::manifests::{apply, failing, shop};
use portolan_core::status::StateWord;
use portolan_engine::journal::{Journal, JournalError};
use portolan_engine::{EngineError, EngineEvent, JobEnd, JobState, OutcomeKind, Work};
use portolan_provider_fake::kinds::JOB;
use portolan_provider_fake::{Called, FakeShape, Fault, On, object, provider};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

async fn up() -> Bench {
    let bench = Bench::new();
    assert_eq!(
        bench.reconcile(apply(shop())).await.expect("an end"),
        OutcomeKind::Converged
    );
    bench
}

async fn run(bench: &Bench, work: Work, job: &str) -> Result<JobEnd, EngineError> {
    let (listener, stop) = (bench.listener.clone(), bench.stop.clone());
    bench.engine.run_job(&bench.provider, work, job, listener, stop).await
}

/// How often the migration ran, the run of the apply included.
async fn runs(bench: &Bench) -> u32 {
    let scope = bench
        .engine
        .scope(&bench.provider, &apply(shop()))
        .await
        .expect("a scope");
    bench.cloud.runs(&object(&scope, JOB, "migrate"))
}

fn wishes(bench: &Bench) -> usize {
    let calls = bench.cloud.calls().into_iter();
    calls.filter(|call| matches!(call, Called::RunJob(_))).count()
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_again_to_its_end() {
    let bench = up().await;
    let before = bench.events().len();
    let end = run(&bench, apply(shop()), "migrate").await.expect("an end");
    assert_eq!((end.state, end.exit_code), (JobState::Completed, Some(0)));
    assert_eq!(runs(&bench).await, 2);
    let states = bench.events().into_iter().skip(before).map(|event| match event {
        EngineEvent::StateChanged { state, .. } => state,
        other => panic!("{other:?}"),
    });
    assert_eq!(
        states.collect::<Vec<_>>(),
        [StateWord::Progressing, StateWord::Completed]
    );
    assert_eq!(
        bench.reconcile(apply(shop())).await.expect("an end"),
        OutcomeKind::Converged
    );
    assert_eq!(runs(&bench).await, 2, "and an apply does not run it");
}

#[tokio::test(start_paused = true)]
async fn it_ends_as_the_job_does() {
    let bench = Bench::new();
    let broken = apply(failing(shop(), "jobs/migrate"));
    assert!(matches!(
        bench.reconcile(broken.clone()).await.expect("an end"),
        OutcomeKind::Held(_)
    ));
    let end = run(&bench, broken, "migrate").await.expect("an end");
    assert!(
        matches!(&end.state, JobState::Failed(failure) if failure.reason == "Crashed"),
        "{end:?}"
    );
    assert_eq!(end.exit_code, Some(1));
}

/// A read that lags shows the end of the run before, which is none.
#[tokio::test(start_paused = true)]
async fn the_end_is_the_one_of_this_run() {
    let mut bench = up().await;
    sleep(Duration::from_secs(60)).await;
    bench.cloud.set_lag(700);
    let read_lag = Duration::from_millis(800);
    bench.provider = provider(bench.cloud.clone(), FakeShape::default().with_read_lag(read_lag));
    let (before, began) = (bench.events().len(), Instant::now());
    run(&bench, apply(shop()), "migrate").await.expect("an end");
    assert!(began.elapsed() >= Duration::from_millis(1100), "{:?}", began.elapsed());
    assert_eq!(bench.events().len() - before, 2, "nor is it told");
}

#[tokio::test(start_paused = true)]
async fn nobody_else_works_on_the_app_meanwhile() {
    let bench = up().await;
    let meanwhile = async {
        sleep(Duration::from_millis(100)).await;
        bench.journal.lock(&apply(shop()).key()).map(drop)
    };
    let (end, lock) = tokio::join!(run(&bench, apply(shop()), "migrate"), meanwhile);
    assert_eq!(end.expect("an end").state, JobState::Completed);
    assert!(matches!(lock, Err(JournalError::Busy { .. })), "{lock:?}");
}

/// It may have begun: whoever wants it once more says so.
#[tokio::test(start_paused = true)]
async fn a_wish_whose_answer_was_lost_is_not_repeated() {
    let bench = up().await;
    bench.cloud.fail_next(On::RunJob, Fault::LoseAnswer);
    let end = run(&bench, apply(shop()), "migrate").await;
    assert!(matches!(end, Err(EngineError::Call(_))), "{end:?}");
    assert_eq!((wishes(&bench), runs(&bench).await), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_leaves_the_job_running() {
    let bench = up().await;
    let (stop, stopped) = watch::channel(false);
    let (work, listener) = (apply(shop()), bench.listener.clone());
    let job = bench
        .engine
        .run_job(&bench.provider, work, "migrate", listener, stopped);
    let press = async {
        sleep(Duration::from_millis(100)).await;
        stop.send(true).expect("somebody listens");
    };
    let (end, ()) = tokio::join!(job, press);
    assert_eq!(end.expect("an end").state, JobState::Interrupted);
    assert_eq!(runs(&bench).await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_run_is_said_before_anything_is_touched() {
    let mut bench = up().await;
    let unknown = run(&bench, apply(shop()), "web").await;
    assert!(
        matches!(unknown, Err(EngineError::UnknownJob { .. })),
        "a service is no job: {unknown:?}"
    );
    bench.provider.run_job = None;
    let unsupported = run(&bench, apply(shop()), "migrate").await;
    assert!(
        matches!(unsupported, Err(EngineError::Unsupported { .. })),
        "{unsupported:?}"
    );
    assert_eq!(wishes(&bench), 0);
}
