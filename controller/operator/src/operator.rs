//! One process's life as an operator: it waits for its turn to write, then watches, keeps and tells until it is stopped or
//! its turn has passed.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff;
use kube::Api;
use kube::api::DynamicObject;
use portolan_core::diagnostic::Diagnostic;
use portolan_core::manifest::Target;
use portolan_engine::Engine;
use portolan_engine::controller::{Assignments, Board, Changes, Controller, Roll};
use portolan_engine::journal::{Journal, JournalError, SqliteJournal};
use portolan_provider_api::{Images, Provider};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::warn;

use crate::app::Asked;
use crate::cluster::Cluster;
use crate::desk::{Desk, Due};
use crate::election::{Election, Term};
use crate::error::OperatorError;
use crate::hearing::{Heard, Hearing};
use crate::memory::Memory;
use crate::object::{ObjectName, app_resource, target_resource};
use crate::watching::{Seen, watch as watch_objects};
use crate::writing::{Writer, Written};

/// The name of the Lease, of one operator for all namespaces; one for a single namespace adds its name.
const LEASE: &str = "portolan-controller";

/// What comes together is looked at together.
const GATHERING: Duration = Duration::from_millis(25);

/// Who knows the way to a Target.
pub trait Harbours: Send + Sync {
    /// # Errors
    /// Why there is none, in the words of the command line.
    fn provider(&self, target: &Target) -> Result<Provider, Box<Diagnostic>>;
}

pub struct Settings {
    /// Of the engine's own loop.
    pub controller: portolan_engine::controller::Settings,
    /// Where Apps are looked for; everywhere if none is named.
    pub namespace: Option<String>,
    /// The folder of everything that stays from one process to the next.
    pub state: PathBuf,
}

pub struct Operator {
    pub cluster: Cluster,
    pub settings: Settings,
    pub harbours: Arc<dyn Harbours>,
    pub images: Arc<dyn Images>,
    pub board: Arc<Board>,
    /// Told of by the ways to Targets that watch them.
    pub changes: Arc<Changes>,
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
    roll: Arc<Roll>,
    /// A second way into the journal, so that the controller hears what is written through it.
    orders: Arc<SqliteJournal>,
    writer: Writer,
}

impl Operator {
    /// Until `stop` is true. What runs goes on; whoever comes next takes it up.
    ///
    /// # Errors
    /// The lease was lost or cannot be asked for, or the state cannot be kept.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<(), OperatorError> {
        let scope = self.settings.namespace.as_deref().unwrap_or("*");
        let memory = Memory::open(&self.settings.state, self.cluster.url(), scope)?;
        let election = self.election(memory.identity());
        let mut stopped = stop.clone();
        let term = tokio::select! {
            term = election.won(|| self.board.beat(), || memory.forget()) => term?,
            _ = stopped.wait_for(|stop| *stop) => return Ok(()),
        };
        let ended = self.serve(&memory, &election, term, stop).await;
        if ended.is_ok() {
            election.release().await;
        }
        ended
    }

    fn election(&self, identity: &str) -> Election {
        let (home, name) = match &self.settings.namespace {
            None => (self.cluster.home(), LEASE.to_string()),
            Some(namespace) => (namespace.as_str(), format!("{LEASE}-{namespace}")),
        };
        Election::new(self.cluster.client(), home, &name, identity)
    }

    async fn serve(
        &self,
        memory: &Memory,
        election: &Election,
        term: Term,
        stop: watch::Receiver<bool>,
    ) -> Result<(), OperatorError> {
        let engine = Engine::new(Arc::new(memory.journal()?), self.images.clone()).with_lease(term.lease.clone());
        let (tell, heard) = mpsc::unbounded_channel();
        let (written_to, written) = mpsc::unbounded_channel();
        let roll = Arc::new(Roll::default());
        let hands = Hands {
            roll: roll.clone(),
            orders: Arc::new(memory.journal()?),
            writer: Writer::new(self.cluster.client(), term.lease.clone(), memory.identity(), written_to),
        };
        let controller = Controller::new(Arc::new(engine), self.settings.controller, Arc::new(Hearing::new(tell)));
        let controller = controller
            .on(self.board.clone())
            .told_of(self.changes.clone())
            .assigned_by(roll);
        let mut watches = JoinSet::new();
        let seen = self.watch(&mut watches);
        let ears = Ears { seen, heard, written };
        let mut desk = Desk::new(self.harbours.clone());
        let (give_up, given_up) = watch::channel(*stop.borrow());
        // Nobody sends whole sets here.
        let (_never, whole) = watch::channel(Assignments::default());
        let keep = controller.run(whole, given_up);
        tokio::pin!(keep);
        let ended = tokio::select! {
            ended = &mut keep => return Ok(ended?),
            lost = election.kept(term) => Err(lost),
            () = serve_desk(&mut desk, ears, hands) => Ok(()),
            () = wished(stop) => Ok(()),
        };
        give_up.send_replace(true);
        keep.await?;
        ended
    }

    /// Lists and watches, as long as the tasks live.
    fn watch(&self, tasks: &mut JoinSet<()>) -> mpsc::Receiver<Message> {
        let (tell, seen) = mpsc::channel(256);
        let client = self.cluster.client();
        let apps: Api<DynamicObject> = match &self.settings.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &app_resource()),
            None => Api::all_with(client.clone(), &app_resource()),
        };
        tasks.spawn(watch_objects(apps, tell.clone(), Message::App));
        let targets = Api::all_with(client, &target_resource());
        tasks.spawn(watch_objects(targets, tell, Message::Target));
        seen
    }
}

async fn wished(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Hears, decides and hands on; ends only where nothing can be heard any more.
async fn serve_desk(desk: &mut Desk, mut ears: Ears, hands: Hands) {
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
        due.writes.into_iter().for_each(|change| self.writer.begin(change));
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
