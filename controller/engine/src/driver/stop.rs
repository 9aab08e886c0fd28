//! The user's wish to stop.

use tokio::sync::watch;

/// Heard once. The signal stays true for ever, and whoever polled it again would hear nothing else any more.
pub struct Stop {
    signal: watch::Receiver<bool>,
    heard: bool,
}

impl Stop {
    pub fn new(signal: watch::Receiver<bool>) -> Self {
        Self { signal, heard: false }
    }

    /// Ends when the signal becomes true, the first time; after that never.
    pub async fn wished(&mut self) {
        if self.heard || self.signal.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.heard = true;
    }
}
