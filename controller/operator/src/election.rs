//! Who may write: the holder of one Lease (coordination.k8s.io).
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
use kube::{Api, Client, Error};
use portolan_engine::Lease;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::cluster::within;
use crate::error::OperatorError;

/// What the Lease says: unchanged for so long it is nobody's.
const DURATION: Duration = Duration::from_secs(15);
/// How long after a renewal was asked for the holder itself believes in it.
const TRUSTED: Duration = Duration::from_secs(10);
const RENEWAL: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_secs(1);
/// For the answer to one request about it. A renewal that gets none is asked for once more while the holder believes.
const DEADLINE: Duration = Duration::from_secs(3);

pub struct Election {
    api: Api<KubeLease>,
    name: String,
    identity: String,
}

/// The right to write.
pub struct Term {
    pub lease: Lease,
    held: KubeLease,
}

/// Whose the Lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Still this side's: nobody else has held it since.
    Ours,
    /// Somebody's, or it may be.
    Taken,
    Free,
}

/// The version of the Lease that was seen last, none where there was none, and since when it is that.
#[derive(Default)]
struct Watch(Option<(Option<String>, Instant)>);

impl Election {
    pub fn new(client: Client, kube_namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, kube_namespace),
            name: name.to_string(),
            identity: identity.to_string(),
        }
    }

    /// Waits until it is this side's turn. `beat` is called at each look, and `forget` before what is not this side's is
    /// asked for: a process that ended between the two would find itself named as the holder, and go on with a journal that
    /// somebody else has written past.
    ///
    /// # Errors
    /// The Lease may not be read or written, or is in a KubeNamespace that is not there; or of `forget`.
    pub async fn won(
        &self,
        beat: impl Fn(),
        forget: impl Fn() -> Result<(), OperatorError>,
    ) -> Result<Term, OperatorError> {
        let mut watch = Watch::default();
        loop {
            beat();
            match self.bid(&mut watch, &forget).await {
                Ok(Some(term)) => return Ok(term),
                Ok(None) => {}
                Err(OperatorError::Lease { source, .. }) if is_passing(&source) => {
                    warn!(error = %source, "the lease could not be asked for");
                }
                Err(error) => return Err(error),
            }
            sleep(LOOK).await;
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
            pause = LOOK;
            let asked = Instant::now();
            match self.put(&term.held, DURATION).await {
                Ok(held) => {
                    term.held = held;
                    term.lease.renew(asked + TRUSTED);
                    pause = RENEWAL;
                }
                Err(Error::Api(status)) if matches!(status.code, 404 | 409) => match self.get().await {
                    // A renewal of ours, whose answer was lost.
                    Ok(Some(now)) if holder(&now) == self.identity => term.held = now,
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
            Ok(Some(now)) if holder(&now) == self.identity => self.put(&now, LOOK).await.map(drop),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = released {
            warn!(%error, "the lease could not be released: others wait until it has passed");
        }
    }

    async fn bid(
        &self,
        watch: &mut Watch,
        forget: impl Fn() -> Result<(), OperatorError>,
    ) -> Result<Option<Term>, OperatorError> {
        let now = self.get().await.map_err(|error| self.failed(error))?;
        let standing = watch.standing(now.as_ref(), &self.identity, Instant::now());
        match standing {
            Standing::Taken => return Ok(None),
            Standing::Free => forget()?,
            Standing::Ours => {}
        }
        let asked = Instant::now();
        let held = match now {
            Some(now) => self.put(&now, DURATION).await,
            None => within(DEADLINE, self.api.create(&PostParams::default(), &self.first())).await,
        };
        match held {
            Ok(held) => {
                info!(lease = self.name, ?standing, "this side writes now");
                let lease = Lease::until(asked + TRUSTED);
                Ok(Some(Term { lease, held }))
            }
            Err(Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn get(&self) -> Result<Option<KubeLease>, Error> {
        within(DEADLINE, self.api.get_opt(&self.name)).await
    }

    /// Over the version that was read: whoever has changed it since wins.
    async fn put(&self, read: &KubeLease, duration: Duration) -> Result<KubeLease, Error> {
        let now = MicroTime(Timestamp::now());
        let mut lease = read.clone();
        lease.metadata.managed_fields = None;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        }
        spec.renew_time = Some(now);
        spec.lease_duration_seconds = Some(seconds(duration));
        let replaced = PostParams::default();
        within(DEADLINE, self.api.replace(&self.name, &replaced, &lease)).await
    }

    fn first(&self) -> KubeLease {
        let now = MicroTime(Timestamp::now());
        let mut lease = KubeLease::default();
        lease.metadata.name = Some(self.name.clone());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_duration_seconds: Some(seconds(DURATION)),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        });
        lease
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
    fn standing(&mut self, now: Option<&KubeLease>, identity: &str, at: Instant) -> Standing {
        let holder = now.map(holder).unwrap_or_default();
        if holder == identity {
            return Standing::Ours;
        }
        let version = now.and_then(|lease| lease.metadata.resource_version.clone());
        let since = match &self.0 {
            Some((seen, since)) if *seen == version => *since,
            _ => self.0.insert((version, at)).1,
        };
        // What a Lease says counts while it is somebody's.
        let said = now.filter(|_| !holder.is_empty()).map_or(DURATION, duration);
        match at.duration_since(since) < said {
            true => Standing::Taken,
            false => Standing::Free,
        }
    }
}

/// Whether another look may find it otherwise.
fn is_passing(error: &Error) -> bool {
    !matches!(error, Error::Api(status) if matches!(status.code, 403 | 404 | 422))
}

fn holder(lease: &KubeLease) -> &str {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
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
