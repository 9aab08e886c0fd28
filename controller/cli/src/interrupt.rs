//! Ctrl-C and SIGTERM: the first asks to stop at the next safe point, the second ends at once. Both are safe: what was
//! begun is in the journal or at the target, and the next run finishes it.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::exit;

/// Becomes true with the first signal.
pub fn listen() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send_replace(true) {
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
        }
    });
    receiver
}

/// Completes with the first signal.
pub async fn interrupted(mut receiver: watch::Receiver<bool>) {
    // The sender lives as long as the process, unless signals cannot be listened to: then nothing ever completes.
    if receiver.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}
