//! The spans of calls. One test alone in its program: `tracing` settles for the whole of it who listens to a place in the
//! code when that place is passed first, by whichever thread.

mod harness;

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use harness::bench::Bench;
use harness::manifests::{apply, shop};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Whatever asks the target, each call of it has its span.
#[tokio::test(start_paused = true)]
async fn every_call_has_a_span() {
    let spans = Spans::default();
    let _listening = tracing::subscriber::set_default(spans.clone());
    let bench = Bench::new();
    let (work, listener, stop) = (apply(shop()), bench.listener.clone(), bench.stop.clone());
    bench.engine.preview(&bench.provider, &work).await.expect("a preview");
    bench.reconcile(work.clone()).await.expect("an end");
    bench.engine.status(&bench.provider, &work).await.expect("a status");
    let job = bench.engine.run_job(&bench.provider, work, "migrate", listener, stop);
    job.await.expect("an end");
    let lines = spans.lines();
    assert_eq!(lines.len(), bench.cloud.calls().len());
    let app = "call namespace=default app=shop target=local verb=";
    assert!(lines.iter().all(|line| line.starts_with(app)), "{lines:?}");
    assert!(lines.contains(&format!("{app}run_job")), "{lines:?}");
}

/// Remembers the spans that were opened for calls of a provider. Clones remember together.
#[derive(Clone, Default)]
struct Spans {
    last: Arc<AtomicU64>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Spans {
    /// `call namespace=default app=shop ...` each, in the order in which they were opened.
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        _ = write!(self.0, " {field}={value}");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "call"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(span.metadata().name().to_string());
        span.record(&mut line);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
        Id::from_u64(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, _event: &Event<'_>) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}
