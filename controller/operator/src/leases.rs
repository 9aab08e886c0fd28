//! The Leases of one installation: looked at all together, and taken away where nobody is behind them any more.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as KubeLease;
use kube::Error;
use kube::api::{DeleteParams, ListParams, Preconditions};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::balance::Holding;
use crate::cluster::within;
use crate::election::{DEADLINE, Election, LABEL, Side, Standing, Term};
use crate::error::OperatorError;
use crate::shard::Shard;
use crate::view::View;

pub struct Leases {
    side: Side,
    installation: String,
    view: View,
}

impl Leases {
    /// Of the installation of that name.
    pub fn new(side: Side, installation: String, count: u32) -> Self {
        Self {
            view: View::new(&installation, &side.identity, count),
            side,
            installation,
        }
    }

    pub fn election(&self, shard: Shard) -> Election {
        Election::new(self.side.clone(), shard.lease(&self.installation))
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// How a shard stands that is not held here.
    pub fn holding(&self, shard: Shard) -> Holding {
        self.view.holding(shard)
    }

    /// A shard of another count that somebody may be writing for.
    pub fn of_another_count(&self) -> Option<Shard> {
        let mut others = self.view.of_another_count();
        let taken = others.find(|(_, _, seen)| seen.standing == Standing::Taken);
        taken.map(|(shard, _, _)| shard)
    }

    /// What is listed is what there is by then: no version is named, so that no cache may answer.
    ///
    /// # Errors
    /// The Leases may not be listed, or there was no answer.
    pub async fn look(&mut self) -> Result<(), OperatorError> {
        let ours = ListParams::default().labels(&format!("{LABEL}={}", self.side.installation));
        let listed = within(DEADLINE, self.side.api.list(&ours)).await;
        let listed = listed.map_err(|error| self.failed(error))?;
        let named = |lease: KubeLease| Some((lease.metadata.name.clone()?, lease));
        let mut now: BTreeMap<String, KubeLease> = listed.items.into_iter().filter_map(named).collect();
        for name in self.view.looked_for() {
            if now.contains_key(&name) {
                continue;
            }
            let found = within(DEADLINE, self.side.api.get_opt(&name)).await;
            let found = found.map_err(|error| self.failed(error))?;
            now.extend(found.map(|lease| (name, lease)));
        }
        self.view.take(now, Instant::now());
        Ok(())
    }

    /// Asks for a shard's Lease as it was seen.
    ///
    /// # Errors
    /// As [`Election::bid`].
    pub async fn bid(
        &self,
        shard: Shard,
        forget: impl FnOnce() -> Result<(), OperatorError>,
    ) -> Result<Option<Term>, OperatorError> {
        let Some(seen) = self.view.get(&shard.lease(&self.installation)) else {
            return Ok(None);
        };
        let election = self.election(shard);
        election.bid(seen.lease.as_ref(), seen.standing, forget).await
    }

    /// Whether nobody writes for a shard of another count, who has taken it before this is asked; those who come later see what
    /// this side has taken. What has passed of other counts is taken away: whoever finds his own Lease where he left it
    /// knows by that that nobody has written past his journal.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn is_alone(&mut self) -> Result<bool, OperatorError> {
        self.look().await?;
        if self.of_another_count().is_some() {
            return Ok(false);
        }
        let passed = self.view.of_another_count();
        let passed = passed.filter_map(|(_, name, seen)| Some((name, seen.lease.as_ref()?)));
        for (name, lease) in passed {
            if !self.delete(name, lease).await? {
                return Ok(false);
            }
            info!(lease = name, "it has passed, and is of another count of shards");
        }
        Ok(true)
    }

    /// Says that this process is there, and takes away what says so of those who are not for long.
    ///
    /// # Errors
    /// The Leases may not be written.
    pub async fn show_up(&self) -> Result<(), OperatorError> {
        let name = self.view.member();
        let seen = self.view.get(&name).and_then(|seen| seen.lease.as_ref());
        Election::new(self.side.clone(), name).take(seen).await?;
        for (name, lease) in self.view.forgotten() {
            self.delete(name, lease).await?;
        }
        Ok(())
    }

    /// Others need not wait until it has passed.
    pub async fn leave(&self) {
        let name = self.view.member();
        let left = within(DEADLINE, self.side.api.delete(&name, &DeleteParams::default())).await;
        if let Err(error) = left
            && !is_gone(&error)
        {
            warn!(%error, "others take this process for a member until its lease has passed");
        }
    }

    /// A while that is another one for each process and each time, for those who have stepped back from each other.
    pub fn a_while(&self) -> Duration {
        let some = RandomState::new().hash_one(&self.side.identity);
        Duration::from_millis(1_000 + some % 3_000)
    }

    /// As it was seen; answers whether it is gone.
    async fn delete(&self, name: &str, seen: &KubeLease) -> Result<bool, OperatorError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: seen.metadata.resource_version.clone(),
                uid: seen.metadata.uid.clone(),
            }),
            ..DeleteParams::default()
        };
        match within(DEADLINE, self.side.api.delete(name, &params)).await {
            Ok(_) => Ok(true),
            Err(error) if is_gone(&error) => Ok(true),
            Err(Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: Error) -> OperatorError {
        OperatorError::Lease {
            name: self.installation.clone(),
            source: Box::new(error),
        }
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use kube::{Api, Client};
    use serde_json::{Value, json};

    use super::*;
    use crate::answering::answering;

    const NAME: &str = "portolan-controller";

    /// Of two shards, with a Lease of three that says how many seconds it counts: whether this side is alone, and what was asked
    /// for that, where a delete is answered with this status.
    async fn alone(seconds: u32, deleted: u16) -> (bool, Vec<String>) {
        let asked = std::sync::Arc::new(Mutex::new(Vec::new()));
        let lease = |name: &str, holder: &str, seconds: u32| {
            json!({
                "metadata": { "name": name, "uid": "1", "resourceVersion": "1" },
                "spec": { "holderIdentity": holder, "leaseDurationSeconds": seconds },
            })
        };
        let member = View::new(NAME, "me", 2).member();
        let ours = [
            NAME,
            "portolan-controller-0-of-2",
            "portolan-controller-1-of-2",
            &member,
        ];
        let mut items: Vec<Value> = ours.iter().map(|name| lease(name, "me", 15)).collect();
        items.push(lease("portolan-controller-2-of-3", "other", seconds));
        let list =
            json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "LeaseList", "metadata": {}, "items": items });
        let note = asked.clone();
        let config = answering(move |method: &str, _: &Value| {
            note.lock().unwrap().push(method.to_string());
            match method {
                "get" => Some((200, list.clone())),
                _ => Some((
                    deleted,
                    json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": deleted, "message": "", "reason": "" }),
                )),
            }
        });
        let side = Side {
            api: Api::namespaced(Client::try_from(config.await).unwrap(), "here"),
            identity: "me".into(),
            installation: "cluster",
        };
        let alone = Leases::new(side, NAME.into(), 2).is_alone().await.unwrap();
        let asked = asked.lock().unwrap().clone();
        (alone, asked)
    }

    #[tokio::test]
    async fn this_side_is_alone_once_what_has_passed_of_other_counts_is_gone() {
        let asked = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(alone(15, 200).await, (false, asked(&["get"])), "somebody writes");
        // The Lease of a single shard that this process has had once goes as well.
        assert_eq!(alone(0, 200).await, (true, asked(&["get", "delete", "delete"])));
        assert_eq!(alone(0, 404).await, (true, asked(&["get", "delete", "delete"])));
        assert_eq!(
            alone(0, 409).await,
            (false, asked(&["get", "delete"])),
            "somebody has it again"
        );
    }
}
