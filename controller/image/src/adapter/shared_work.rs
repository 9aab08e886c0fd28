//! Work that several ask for at the same time, and that is done once. It goes on while anyone still waits for it, and
//! ends when the last one has gone. Nothing is kept once it is done: the next one to ask begins anew.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, WeakShared};

/// Work under way, by what was asked for.
pub(super) struct SharedWork<T: Clone>(Mutex<HashMap<String, WeakShared<BoxFuture<'static, T>>>>);

impl<T: Clone> Default for SharedWork<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + Sync + 'static> SharedWork<T> {
    /// The answer of the work under way for `key`, or of `work` if there is none.
    pub async fn join(&self, key: String, work: impl Future<Output = T> + Send + 'static) -> T {
        let shared = {
            let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            under_way.retain(|_, work| work.upgrade().is_some_and(|work| work.peek().is_none()));
            match under_way.get(&key).and_then(WeakShared::upgrade) {
                Some(shared) => shared,
                None => {
                    let shared = work.boxed().shared();
                    under_way.extend(shared.downgrade().map(|weak| (key, weak)));
                    shared
                }
            }
        };
        shared.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn equal_work_at_the_same_time_is_done_once() {
        let done = Arc::new(AtomicUsize::new(0));
        let shared = SharedWork::default();
        let work = || {
            let done = done.clone();
            async move {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                done.fetch_add(1, Ordering::Relaxed)
            }
        };
        let ask = |key: &str| shared.join(key.to_owned(), work());
        assert_eq!(
            tokio::join!(ask("a"), ask("a"), ask("a")),
            (0, 0, 0),
            "all get the one answer"
        );
        assert_eq!(
            tokio::join!(ask("b"), ask("c")),
            (1, 2),
            "different keys are different work"
        );
        assert_eq!(ask("a").await, 3, "an answer is not kept");
    }

    #[tokio::test]
    async fn work_ends_with_the_last_who_waits() {
        let living = Arc::new(());
        let shared: SharedWork<()> = SharedWork::default();
        let work = || {
            let held = living.clone();
            async move {
                std::future::pending::<()>().await;
                drop(held);
            }
        };
        let mut first = Box::pin(shared.join("a".into(), work()));
        let mut second = Box::pin(shared.join("a".into(), work()));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(Arc::strong_count(&living) > 1, "the second still waits");
        drop(second);
        assert_eq!(Arc::strong_count(&living), 1);
    }
}
