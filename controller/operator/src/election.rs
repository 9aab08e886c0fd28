//! Who may write: the holder of one Lease (coordination.k8s.io).
//!
//! A Lease has no fence of its own, so the holder is fenced on its own side: the engine's lease ends [`TRUSTED`] after a
//! renewal was *asked for*, by a clock that never jumps, and others take over only once they have seen the Lease unchanged for
//! [`DURATION`], by theirs. Whoever stood still in between finds its lease passed before it sends anything. Every change of the
//! Lease names the version that it was read in, so that of two who take it one is refused.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as KubeLease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, Error};
use portolan_engine::Lease;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::error::OperatorError;

/// What the Lease says: unchanged for so long it is nobody's.
const DURATION: Duration = Duration::from_secs(15);
/// How long after a renewal was asked for the holder itself believes in it.
const TRUSTED: Duration = Duration::from_secs(10);
const RENEWAL: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_secs(1);

pub struct Election {
    api: Api<KubeLease>,
    name: String,
    identity: String,
}

/// The right to write, and what there was before it.
pub struct Term {
    pub lease: Lease,
    /// Whether nobody else has held it since this side last did.
    pub is_resumed: bool,
    held: KubeLease,
}

/// One answer to the wish to hold it.
enum Bid {
    Won { held: Box<KubeLease>, is_resumed: bool },
    Lost,
}

impl Election {
    pub fn new(client: Client, kube_namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, kube_namespace),
            name: name.to_string(),
            identity: identity.to_string(),
        }
    }

    /// Waits until it is this side's turn. `beat` is called at each look.
    ///
    /// # Errors
    /// The Lease may not be read or written, or is in a KubeNamespace that is not there.
    pub async fn won(&self, beat: impl Fn()) -> Result<Term, OperatorError> {
        let mut watched: Option<(KubeLease, Instant)> = None;
        loop {
            beat();
            let asked = Instant::now();
            match self.look(&mut watched).await {
                Ok(Bid::Won { held, is_resumed }) => {
                    info!(lease = self.name, is_resumed, "this side writes now");
                    return Ok(Term {
                        lease: Lease::until(asked + TRUSTED),
                        is_resumed,
                        held: *held,
                    });
                }
                Ok(Bid::Lost) => {}
                Err(Error::Api(status)) if matches!(status.code, 403 | 404 | 422) => {
                    return Err(self.failed(Error::Api(status)));
                }
                Err(error) => warn!(%error, "the lease could not be asked for"),
            }
            sleep(LOOK).await;
        }
    }

    /// Renews the term for as long as it can be; answers who has it then.
    pub async fn kept(&self, mut term: Term) -> OperatorError {
        loop {
            sleep(RENEWAL).await;
            if term.lease.is_lost() {
                return self.lost("nobody");
            }
            let asked = Instant::now();
            match self.put(&term.held, DURATION).await {
                Ok(held) => {
                    term.held = held;
                    term.lease.renew(asked + TRUSTED);
                }
                Err(Error::Api(status)) if matches!(status.code, 404 | 409) => match self.api.get_opt(&self.name).await
                {
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
        let released = match self.api.get_opt(&self.name).await {
            Ok(Some(now)) if holder(&now) == self.identity => self.put(&now, LOOK).await.map(drop),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = released {
            warn!(%error, "the lease could not be released: others wait until it has passed");
        }
    }

    async fn look(&self, watched: &mut Option<(KubeLease, Instant)>) -> Result<Bid, Error> {
        let Some(now) = self.api.get_opt(&self.name).await? else {
            let made = self.api.create(&PostParams::default(), &self.first()).await;
            return bid(made, false);
        };
        if holder(&now) == self.identity {
            return bid(self.put(&now, DURATION).await, true);
        }
        let since = match watched {
            Some((seen, since)) if seen.metadata.resource_version == now.metadata.resource_version => *since,
            _ => watched.insert((now.clone(), Instant::now())).1,
        };
        if !holder(&now).is_empty() && since.elapsed() < duration(&now) {
            return Ok(Bid::Lost);
        }
        bid(self.put(&now, DURATION).await, false)
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
        self.api.replace(&self.name, &PostParams::default(), &lease).await
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

fn bid(answer: Result<KubeLease, Error>, is_resumed: bool) -> Result<Bid, Error> {
    match answer {
        Ok(held) => Ok(Bid::Won {
            held: Box::new(held),
            is_resumed,
        }),
        Err(Error::Api(status)) if status.code == 409 => Ok(Bid::Lost),
        Err(error) => Err(error),
    }
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
