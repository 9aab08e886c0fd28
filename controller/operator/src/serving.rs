//! One shard, from when its Lease is this side's: watched, kept and told until it is let go, or its turn has passed.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff;
use kube::Api;
use kube::api::DynamicObject;
use portolan_engine::Engine;
use portolan_engine::controller::{Assignments, Changes, Controller, Roll};
use portolan_engine::journal::{Journal, JournalError, SqliteJournal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::app::Asked;
use crate::desk::{Desk, Due};
use crate::election::{Election, Term};
use crate::error::OperatorError;
use crate::hearing::{Heard, Hearing};
use crate::memory::Memory;
use crate::object::{AppName, ObjectName, app_resource, target_resource};
use crate::operator::Operator;
use crate::replica::wished;
use crate::shard::Shard;
use crate::watching::{Seen, watch as watch_objects};
use crate::writing::{Writer, Written};

/// What comes together is looked at together.
const GATHERING: Duration = Duration::from_millis(25);

/// For the answers to what was written last, before others are let in.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

pub struct Serving {
    pub operator: Arc<Operator>,
    pub memory: Arc<Memory>,
    pub election: Election,
    pub shard: Shard,
}

/// Something that was heard, wherever it comes from.
enum Message {
    App(Seen),
    Target(Seen),
    Heard(Heard),
    Written(Written),
}

/// Where all of it comes in.
struct Ears {
    /// Bounded: objects are listed no faster than they are looked at.
    seen: mpsc::Receiver<Message>,
    heard: mpsc::UnboundedReceiver<Heard>,
    written: mpsc::UnboundedReceiver<Written>,
}

/// Where what is due goes.
struct Hands {
    shard: Shard,
    roll: Arc<Roll>,
    /// A second way into the journal, so that the controller hears what is written through it.
    orders: Arc<SqliteJournal>,
    writer: Writer,
}

impl Serving {
    /// Until `stop` is true; then others are let in. What runs goes on, and whoever comes next takes it up.
    ///
    /// # Errors
    /// The Lease was lost, or the journal cannot be used.
    pub async fn run(self, term: Term, stop: watch::Receiver<bool>) -> Result<(), OperatorError> {
        let Operator { board, shards, .. } = &*self.operator;
        let changes = shards.take_up(self.shard);
        let ended = self.serve(term, changes, stop).await;
        shards.let_go(self.shard);
        board.leave(&self.name(), |key| self.shard.has(&key.namespace, &key.app));
        if ended.is_ok() {
            self.election.release().await;
        }
        ended
    }

    async fn serve(&self, term: Term, changes: Arc<Changes>, stop: watch::Receiver<bool>) -> Result<(), OperatorError> {
        let (operator, memory) = (&self.operator, &self.memory);
        let (lease, client) = (term.lease.clone(), operator.cluster.client());
        let journal = Arc::new(memory.journal(self.shard)?);
        let engine = Engine::new(journal, operator.images.clone()).with_lease(lease.clone());
        let (tell, heard) = mpsc::unbounded_channel();
        let (written_to, written) = mpsc::unbounded_channel();
        let roll = Arc::new(Roll::default());
        let hands = Hands {
            shard: self.shard,
            roll: roll.clone(),
            orders: Arc::new(memory.journal(self.shard)?),
            writer: Writer::new(client, lease.clone(), memory.identity(), written_to),
        };
        let controller = Controller::new(
            Arc::new(engine),
            operator.settings.controller,
            Arc::new(Hearing::new(tell)),
        );
        let controller = controller
            .called(self.name())
            .on(operator.board.clone())
            .told_of(changes)
            .assigned_by(roll);
        let mut watches = JoinSet::new();
        let seen = self.watch(&mut watches);
        let mut ears = Ears { seen, heard, written };
        let mut desk = Desk::new(operator.harbours.clone());
        let (give_up, given_up) = watch::channel(*stop.borrow());
        // Nobody sends whole sets here.
        let (_never, whole) = watch::channel(Assignments::default());
        let keep = controller.run(whole, given_up);
        tokio::pin!(keep);
        let ended = tokio::select! {
            ended = &mut keep => return Ok(ended?),
            lost = self.election.kept(term) => Err(lost),
            () = serve_desk(&mut desk, &mut ears, hands) => Ok(()),
            () = wished(stop) => Ok(()),
        };
        give_up.send_replace(true);
        keep.await?;
        // What has not been sent yet never is.
        lease.renew(Instant::now());
        ears.last_answers().await;
        ended
    }

    fn name(&self) -> String {
        self.shard.to_string()
    }

    /// Lists and watches, as long as the tasks live.
    fn watch(&self, tasks: &mut JoinSet<()>) -> mpsc::Receiver<Message> {
        let (tell, seen) = mpsc::channel(256);
        let (client, shard) = (self.operator.cluster.client(), self.shard);
        let apps: Api<DynamicObject> = match &self.operator.settings.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &app_resource()),
            None => Api::all_with(client.clone(), &app_resource()),
        };
        let is_of_shard = move |object: &DynamicObject| {
            let app = AppName::of(object);
            shard.has(&app.namespace, &app.name)
        };
        tasks.spawn(watch_objects(apps, tell.clone(), Message::App, is_of_shard));
        let targets = Api::all_with(client, &target_resource());
        tasks.spawn(watch_objects(targets, tell, Message::Target, |_| true));
        seen
    }
}

/// Hears, decides and hands on; ends only where nothing can be heard any more.
async fn serve_desk(desk: &mut Desk, ears: &mut Ears, hands: Hands) {
    while let Some(message) = ears.next().await {
        take(desk, message);
        sleep(GATHERING).await;
        while let Some(message) = ears.ready() {
            take(desk, message);
        }
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let due = desk.due(&now, SystemTime::now().into());
        hands.carry_out(due, desk).await;
    }
}

fn take(desk: &mut Desk, message: Message) {
    match message {
        Message::App(seen) => desk.see_app(seen),
        Message::Target(seen) => desk.see_target(seen),
        Message::Heard(heard) => desk.hear(heard),
        Message::Written(written) => desk.written(written),
    }
}

impl Ears {
    async fn next(&mut self) -> Option<Message> {
        tokio::select! {
            Some(message) = self.seen.recv() => Some(message),
            Some(heard) = self.heard.recv() => Some(Message::Heard(heard)),
            Some(written) = self.written.recv() => Some(Message::Written(written)),
            else => None,
        }
    }

    /// What has come already.
    fn ready(&mut self) -> Option<Message> {
        let seen = self.seen.try_recv().ok();
        seen.or_else(|| self.heard.try_recv().ok().map(Message::Heard))
            .or_else(|| self.written.try_recv().ok().map(Message::Written))
    }

    /// Until no write is under way any more: each that is holds a way to tell of its end.
    async fn last_answers(&mut self) {
        let answered = async { while self.written.recv().await.is_some() {} };
        _ = timeout(LAST_ANSWERS, answered).await;
    }
}

impl Hands {
    async fn carry_out(&self, due: Due, desk: &mut Desk) {
        self.roll.tell(due.reassigned);
        for (name, asked) in due.orders {
            let (annotation, said) = (asked.annotation, asked.said.clone());
            // What could not be handed on is asked for again when something is next heard of the App.
            match self.give(asked).await {
                Ok(()) => desk.obeyed(&name, annotation, said),
                Err(error) => warn!(app = %ObjectName::App(name), %error, "an order could not be written down"),
            }
        }
        for told in due.news {
            if let Some(app) = desk.app(&told.name) {
                self.writer
                    .tell_news(&told.name, &app.head.uid, &told.target, told.news);
            }
        }
        let writes = due.writes.into_iter().filter(|change| self.writes(&change.name));
        writes.for_each(|change| self.writer.begin(change));
    }

    /// Whoever has the first shard speaks of Targets for all.
    fn writes(&self, object: &ObjectName) -> bool {
        matches!(object, ObjectName::App(_)) || self.shard.is_first()
    }

    async fn give(&self, asked: Asked) -> Result<(), JournalError> {
        let journal = self.orders.clone();
        let given = tokio::task::spawn_blocking(move || {
            let mut keys = asked.keys.iter();
            keys.try_for_each(|key| journal.give(key, asked.order.clone()))
        });
        given
            .await
            .unwrap_or_else(|failure| resume_unwind(failure.into_panic()))
    }
}
