//! One process among several: it comes to hold as many shards as are its share, and serves each of them by itself.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::balance::{Holding, Move, decide};
use crate::election::{Term, is_passing};
use crate::error::OperatorError;
use crate::leases::Leases;
use crate::memory::Memory;
use crate::operator::Operator;
use crate::serving::Serving;
use crate::shard::Shard;

/// Between two looks at the Leases: of those who wait for the only one, and where there are several.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_AT_SEVERAL: Duration = Duration::from_secs(2);

/// Of a process's own loop, on the board.
const LOOP: &str = "";

pub struct Replica {
    operator: Arc<Operator>,
    memory: Arc<Memory>,
    leases: Leases,
    /// What is served, and how that is ended.
    held: BTreeMap<Shard, watch::Sender<bool>>,
    serving: JoinSet<(Shard, Result<(), OperatorError>)>,
    /// Whom it waits for, as it was said last.
    waits_for: Option<Shard>,
}

impl Replica {
    pub fn new(operator: Operator, memory: Memory, leases: Leases) -> Self {
        Self {
            operator: Arc::new(operator),
            memory: Arc::new(memory),
            leases,
            held: BTreeMap::new(),
            serving: JoinSet::new(),
            waits_for: None,
        }
    }

    /// Until `stop` is true, or a Lease is lost: then all others are released.
    pub async fn run(mut self, stop: watch::Receiver<bool>) -> Result<(), OperatorError> {
        let ended = self.hold(stop).await;
        let left = self.leave().await;
        ended.and(left)
    }

    async fn hold(&mut self, stop: watch::Receiver<bool>) -> Result<(), OperatorError> {
        let mut pause = Duration::ZERO;
        let stopped = wished(stop);
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => return Ok(()),
                Some(ended) = self.serving.join_next() => self.ended(ended)?,
                () = sleep(pause) => pause = self.step().await?,
            }
        }
    }

    /// Answers how long to wait until the next one.
    async fn step(&mut self) -> Result<Duration, OperatorError> {
        self.operator.board.beat(LOOP);
        match self.look_and_move().await {
            Err(OperatorError::Lease { source, .. }) if is_passing(&source) => {
                warn!(error = %source, "the lease could not be asked for");
                Ok(self.look())
            }
            other => other,
        }
    }

    async fn look_and_move(&mut self) -> Result<Duration, OperatorError> {
        if !self.is_one_of_several() && !self.held.is_empty() {
            return Ok(self.look());
        }
        self.leases.look().await?;
        if self.is_one_of_several() {
            self.leases.show_up().await?;
        }
        if self.has_to_wait() {
            return Ok(self.look());
        }
        let shards: Vec<Shard> = self.operator.shards.all().collect();
        let holdings: Vec<Holding> = shards.iter().map(|shard| self.holding(*shard)).collect();
        let me = self.memory.identity();
        match decide(me, &self.leases.view().members(), &holdings) {
            Move::Rest => Ok(self.look()),
            Move::Release(index) => {
                self.release(shards[index]);
                Ok(Duration::ZERO)
            }
            Move::Bid(index) => self.bid(shards[index]).await,
        }
    }

    /// Two counts of shards never write at once: whoever is there goes on.
    fn has_to_wait(&mut self) -> bool {
        let other = self.leases.of_another_count();
        if let Some(shard) = other.filter(|_| self.waits_for != other) {
            info!(%shard, "it waits for those who have another count of shards");
        }
        self.waits_for = other;
        other.is_some()
    }

    /// Taken first, and looked for others after: of two counts that come at once both may step back, and never both go on.
    async fn bid(&mut self, shard: Shard) -> Result<Duration, OperatorError> {
        let forget = || self.memory.forget(shard);
        let Some(term) = self.leases.bid(shard, forget).await? else {
            return Ok(self.look());
        };
        let alone = self.leases.is_alone().await;
        if matches!(alone, Ok(true)) {
            info!(%shard, "this side writes now");
            self.serve(shard, term);
            return Ok(Duration::ZERO);
        }
        self.leases.election(shard).release().await;
        alone.map(|_| self.leases.a_while())
    }

    fn serve(&mut self, shard: Shard, term: Term) {
        let (stop, stopped) = watch::channel(false);
        let serving = Serving {
            operator: self.operator.clone(),
            memory: self.memory.clone(),
            election: self.leases.election(shard),
            shard,
        };
        self.serving
            .spawn(async move { (shard, serving.run(term, stopped).await) });
        self.held.insert(shard, stop);
    }

    fn release(&mut self, shard: Shard) {
        info!(%shard, "it is let go: others hold less");
        if let Some(stop) = self.held.get(&shard) {
            stop.send_replace(true);
        }
    }

    fn holding(&self, shard: Shard) -> Holding {
        match self.held.get(&shard) {
            Some(stop) if *stop.borrow() => Holding::Leaving,
            Some(_) => Holding::Mine,
            None => self.leases.holding(shard),
        }
    }

    fn ended(&mut self, ended: Result<(Shard, Result<(), OperatorError>), JoinError>) -> Result<(), OperatorError> {
        let (shard, ended) = ended.unwrap_or_else(|failure| resume_unwind(failure.into_panic()));
        self.held.remove(&shard);
        ended
    }

    async fn leave(&mut self) -> Result<(), OperatorError> {
        if self.is_one_of_several() {
            self.leases.leave().await;
        }
        for stop in self.held.values() {
            stop.send_replace(true);
        }
        let mut left = Ok(());
        while let Some(ended) = self.serving.join_next().await {
            left = left.and(self.ended(ended));
        }
        left
    }

    fn is_one_of_several(&self) -> bool {
        self.operator.shards.count() > 1
    }

    fn look(&self) -> Duration {
        match self.is_one_of_several() {
            true => LOOK_AT_SEVERAL,
            false => LOOK,
        }
    }
}

/// Waits until `stop` is true.
pub async fn wished(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
