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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_is_heard_once() {
        let (say, signal) = watch::channel(false);
        let mut stop = Stop::new(signal);
        say.send(true).expect("somebody listens");
        stop.wished().await;
        tokio::select! {
            biased;
            () = stop.wished() => panic!("heard again"),
            () = std::future::ready(()) => {}
        }
    }
}
