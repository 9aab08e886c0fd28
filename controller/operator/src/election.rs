//! Who may write: the holder of a Lease (coordination.k8s.io), one for each shard.
//!
//! A Lease has no fence of its own, so the holder is fenced on its own side: the engine's lease ends [`TRUSTED`] after a
//! renewal was *asked for*, by a clock that never jumps, and others take over only once they have seen the Lease unchanged for
//! [`DURATION`], by theirs. Whoever stood still in between finds its lease passed before it sends anything. Every change of the
//! Lease names the version that it was read in, so that of two who take it one is refused.
//!
//! A Lease that is not there, or is nobody's, is watched as long: somebody may have deleted it under a holder, who believes in it
//! until he asks for it next.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as KubeLease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Error};
use portolan_engine::Lease;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::cluster::within;
use crate::error::OperatorError;

/// What a Lease says: unchanged for so long it is nobody's.
pub const DURATION: Duration = Duration::from_secs(15);
/// How long after a renewal was asked for the holder itself believes in it.
const TRUSTED: Duration = Duration::from_secs(10);
const RENEWAL: Duration = Duration::from_secs(3);
/// What a Lease says that was released, and how soon a renewal that failed is asked for again.
const SOON: Duration = Duration::from_secs(1);
/// For the answer to one request about it. A renewal that gets none is asked for once more while the holder believes.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// By which the Leases of an installation are found.
pub const LABEL: &str = "portolan.dev/controller";

/// Where Leases are, and in whose name they are asked for.
#[derive(Clone)]
pub struct Side {
    pub api: Api<KubeLease>,
    pub identity: String,
    /// The label's value.
    pub installation: &'static str,
}

pub struct Election {
    side: Side,
    name: String,
}

/// The right to write.
pub struct Term {
    pub lease: Lease,
    held: KubeLease,
}

/// Whose the Lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Still this side's: nobody else has held it since.
    Ours,
    /// Somebody's, or it may be.
    Taken,
    Free,
}

/// The version of the Lease that was seen last, none where there was none, and since when it is that.
#[derive(Default)]
pub struct Watch(Option<(Option<String>, Instant)>);

impl Election {
    pub fn new(side: Side, name: String) -> Self {
        Self { side, name }
    }

    /// Asks for the Lease as it was seen, none where there was none. `forget` is called before what is not this side's is asked
    /// for: a process that ended between the two would find itself named as the holder, and go on with a journal that
    /// somebody else has written past.
    ///
    /// # Errors
    /// The Lease may not be written, or is in a KubeNamespace that is not there; or of `forget`.
    pub async fn bid(
        &self,
        seen: Option<&KubeLease>,
        standing: Standing,
        forget: impl FnOnce() -> Result<(), OperatorError>,
    ) -> Result<Option<Term>, OperatorError> {
        match standing {
            Standing::Taken => return Ok(None),
            Standing::Free => forget()?,
            Standing::Ours => {}
        }
        self.take(seen).await
    }

    /// None where somebody has changed it since.
    pub async fn take(&self, seen: Option<&KubeLease>) -> Result<Option<Term>, OperatorError> {
        let asked = Instant::now();
        let held = match seen {
            Some(seen) => self.put(seen, DURATION).await,
            None => within(DEADLINE, self.side.api.create(&PostParams::default(), &self.first())).await,
        };
        match held {
            Ok(held) => {
                let lease = Lease::until(asked + TRUSTED);
                Ok(Some(Term { lease, held }))
            }
            Err(Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Renews the term for as long as it can be; answers who has it then. What has failed is tried again sooner than a
    /// renewal is due: a few failures in a row are no reason to let it pass.
    pub async fn kept(&self, mut term: Term) -> OperatorError {
        let mut pause = RENEWAL;
        loop {
            sleep(pause).await;
            if term.lease.is_lost() {
                return self.lost("nobody");
            }
            pause = SOON;
            let asked = Instant::now();
            match self.put(&term.held, DURATION).await {
                Ok(held) => {
                    term.held = held;
                    term.lease.renew(asked + TRUSTED);
                    pause = RENEWAL;
                }
                Err(Error::Api(status)) if matches!(status.code, 404 | 409) => match self.get().await {
                    // A renewal of ours, whose answer was lost.
                    Ok(Some(now)) if holder(&now) == self.side.identity => term.held = now,
                    Ok(now) => return self.lost(now.as_ref().map_or("nobody", holder)),
                    Err(error) => warn!(%error, "the lease could not be read"),
                },
                Err(error) => warn!(%error, "the lease could not be renewed"),
            }
        }
    }

    /// Lets others in at once. It stays in this side's name: if nobody comes, it is resumed.
    pub async fn release(&self) {
        let released = match self.get().await {
            Ok(Some(now)) if holder(&now) == self.side.identity => self.put(&now, SOON).await.map(drop),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = released {
            warn!(%error, "the lease could not be released: others wait until it has passed");
        }
    }

    async fn get(&self) -> Result<Option<KubeLease>, Error> {
        within(DEADLINE, self.side.api.get_opt(&self.name)).await
    }

    /// Over the version that was read: whoever has changed it since wins.
    async fn put(&self, read: &KubeLease, duration: Duration) -> Result<KubeLease, Error> {
        let now = MicroTime(Timestamp::now());
        let mut lease = read.clone();
        lease.metadata.managed_fields = None;
        self.label(&mut lease);
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.side.identity) {
            spec.holder_identity = Some(self.side.identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        }
        spec.renew_time = Some(now);
        spec.lease_duration_seconds = Some(seconds(duration));
        let replaced = PostParams::default();
        within(DEADLINE, self.side.api.replace(&self.name, &replaced, &lease)).await
    }

    fn first(&self) -> KubeLease {
        let now = MicroTime(Timestamp::now());
        let mut lease = KubeLease::default();
        lease.metadata.name = Some(self.name.clone());
        self.label(&mut lease);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.side.identity.clone()),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_duration_seconds: Some(seconds(DURATION)),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        });
        lease
    }

    fn label(&self, lease: &mut KubeLease) {
        let labels = lease.metadata.labels.get_or_insert_default();
        labels.insert(LABEL.to_string(), self.side.installation.to_string());
    }

    fn failed(&self, error: Error) -> OperatorError {
        OperatorError::Lease {
            name: self.name.clone(),
            source: Box::new(error),
        }
    }

    fn lost(&self, holder: &str) -> OperatorError {
        OperatorError::LeaseLost {
            holder: holder.to_string(),
        }
    }
}

impl Watch {
    pub fn standing(&mut self, now: Option<&KubeLease>, identity: &str, at: Instant) -> Standing {
        let version = now.and_then(|lease| lease.metadata.resource_version.clone());
        if self.0.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.0 = Some((version, at));
        }
        if now.is_some_and(|lease| holder(lease) == identity) {
            return Standing::Ours;
        }
        match self.unchanged(at) < said(now) {
            true => Standing::Taken,
            false => Standing::Free,
        }
    }

    /// For how long it has been seen as it is.
    pub fn unchanged(&self, at: Instant) -> Duration {
        let since = self.0.as_ref().map(|(_, since)| at.duration_since(*since));
        since.unwrap_or_default()
    }
}

/// Whether another look may find it otherwise.
pub fn is_passing(error: &Error) -> bool {
    !matches!(error, Error::Api(status) if matches!(status.code, 403 | 404 | 422))
}

pub fn holder(lease: &KubeLease) -> &str {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

/// What it says counts while it is somebody's.
pub fn said(now: Option<&KubeLease>) -> Duration {
    now.filter(|lease| !holder(lease).is_empty()).map_or(DURATION, duration)
}

fn duration(lease: &KubeLease) -> Duration {
    let said = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    said.and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs)
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
