//! Children that nobody waits for: a process of an exec whose runtime ended before it comes to this one, the subreaper.
//!
//! They must be reaped, for the kernel lets a pid namespace end only when all in it are: a container with such a process
//! would never be seen to have ended.

use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// Who waits for a child has done so long before it is seen for the second time.
const PERIOD: Duration = Duration::from_millis(500);

/// Never returns. A child that has ended and is still there after a whole period is nobody's.
pub(super) async fn reap() {
    let mut seen = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        let waiting = waiting();
        if let Some(pid) = waiting.filter(|_| waiting == seen) {
            tracing::info!(pid = pid.as_raw(), "an orphan of a container is reaped");
            // Gone between the look and now is as good.
            _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        }
        seen = waiting;
    }
}

/// A child that has ended, left as it is.
fn waiting() -> Option<Pid> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::All, look) {
        Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => Some(pid),
        // None has ended, or there is none at all (ECHILD).
        _ => None,
    }
}
