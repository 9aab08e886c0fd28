//! What is written to the objects themselves: finalizers, status and Events, and only by whoever holds the lease.
//!
//! Every change names the version of the object that it was made for. Where that has moved on the change is dropped: the
//! watch brings the newer object, and what is due is found out anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Error};
use portolan_core::manifest::API_VERSION;
use portolan_engine::Lease;
use portolan_engine::budget::Budget;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::app::Write;
use crate::cluster::within;
use crate::object::{AppName, Head, ObjectName, app_resource, target_resource};
use crate::told::News;

/// Who writes, in the words of server-side apply.
const MANAGER: &str = "portolan-controller";

/// Writes that are under way at the same time: those that somebody waits for, and news of what goes on, which is not to
/// take its time from those.
const AT_ONCE: usize = 16;
const NEWS_AT_ONCE: usize = 2;

/// Events a second, of all Apps together, once twice as many have been told at once: nobody waits for one, and where very many
/// Apps come at the same time their objects do not wait for the Events about them.
const EVENTS: u32 = 5;

/// After a write that was refused for its version: the watch is about to say why.
const MOVED: Duration = Duration::from_millis(500);
const FAILED: Duration = Duration::from_secs(5);
/// Until its answer is there in full. One that comes later is found by the watch.
const DEADLINE: Duration = Duration::from_secs(30);

/// A write that is due, for the version of the object that it was made for.
pub struct Change {
    pub name: ObjectName,
    uid: String,
    version: String,
    pub write: Write,
}

impl Change {
    pub fn of(name: ObjectName, head: &Head, write: Write) -> Self {
        let (uid, version) = (head.uid.clone(), head.version.clone());
        Self {
            name,
            uid,
            version,
            write,
        }
    }
}

/// A write has come to its end.
pub struct Written {
    pub name: ObjectName,
    /// Of the object that it was for.
    pub uid: String,
    /// The object as it is then; none where it is not as it was thought to be.
    pub object: Option<Box<DynamicObject>>,
}

#[derive(Clone)]
pub struct Writer {
    client: Client,
    lease: Lease,
    recorder: Recorder,
    room: Arc<Semaphore>,
    room_for_news: Arc<Semaphore>,
    events: Arc<Mutex<Budget>>,
    tell: UnboundedSender<Written>,
}

impl Writer {
    pub fn new(client: Client, lease: Lease, instance: &str, tell: UnboundedSender<Written>) -> Self {
        let reporter = Reporter {
            controller: MANAGER.into(),
            instance: Some(instance.to_string()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            lease,
            room: Arc::new(Semaphore::new(AT_ONCE)),
            room_for_news: Arc::new(Semaphore::new(NEWS_AT_ONCE)),
            events: Arc::new(Mutex::new(Budget::new(EVENTS))),
            tell,
        }
    }

    /// Begins a write; its end is told.
    pub fn begin(&self, change: Change) {
        let writer = self.clone();
        tokio::spawn(async move {
            let (name, uid) = (change.name.clone(), change.uid.clone());
            let object = writer.write(change).await;
            // Nobody listens once the operator has ended.
            _ = writer.tell.send(Written { name, uid, object });
        });
    }

    /// An Event about the App. What cannot be told is lost: nothing depends on it.
    pub fn tell_news(&self, name: &AppName, uid: &str, target: &str, news: News) {
        let regarding = ObjectReference {
            api_version: Some(API_VERSION.into()),
            kind: Some("App".into()),
            name: Some(name.name.clone()),
            namespace: Some(name.namespace.clone()),
            uid: Some(uid.to_string()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: if news.is_warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: news.reason,
            note: Some(format!("{target}: {}", news.note)),
            action: "Reconcile".into(),
            secondary: None,
        };
        // Not the whole writer: whoever ends waits for the answers to its writes, and for no Event that has its turn later.
        let (recorder, room, lease) = (self.recorder.clone(), self.room_for_news.clone(), self.lease.clone());
        // A budget is whole after every line of its code.
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = events.take(SystemTime::now().into());
        tokio::spawn(async move {
            sleep(turn).await;
            let _room = room.acquire().await;
            if lease.is_lost() {
                return;
            }
            if let Err(error) = within(DEADLINE, recorder.publish(&event, &regarding)).await {
                debug!(%error, "an Event could not be written");
            }
        });
    }

    async fn write(&self, change: Change) -> Option<Box<DynamicObject>> {
        let name = change.name.clone();
        let answer = {
            let room = match change.write.is_news() {
                true => &self.room_for_news,
                false => &self.room,
            };
            let _room = room.acquire().await;
            if self.lease.is_lost() {
                return None;
            }
            within(DEADLINE, self.send(change)).await
        };
        match answer {
            Ok(mut object) => {
                object.metadata.managed_fields = None;
                Some(Box::new(object))
            }
            Err(Error::Api(status)) if matches!(status.code, 404 | 409) => {
                sleep(MOVED).await;
                None
            }
            Err(error) => {
                warn!(object = %name, %error, "the object could not be written");
                sleep(FAILED).await;
                None
            }
        }
    }

    async fn send(&self, change: Change) -> Result<DynamicObject, Error> {
        let client = self.client.clone();
        let (api, kind, name): (Api<DynamicObject>, _, _) = match &change.name {
            ObjectName::App(app) => {
                let api = Api::namespaced_with(client, &app.namespace, &app_resource());
                (api, "App", &app.name)
            }
            ObjectName::Target(name) => (Api::all_with(client, &target_resource()), "Target", name),
        };
        match change.write {
            Write::Record(patch) => {
                let params = PatchParams {
                    field_manager: Some(MANAGER.into()),
                    ..PatchParams::default()
                };
                api.patch(name, &params, &Patch::Merge(patch)).await
            }
            Write::Status(status) => {
                let body = json!({
                    "apiVersion": API_VERSION,
                    "kind": kind,
                    "metadata": { "name": name, "uid": change.uid, "resourceVersion": change.version },
                    "status": status,
                });
                let params = PatchParams::apply(MANAGER).force();
                api.patch_status(name, &params, &Patch::Apply(body)).await
            }
        }
    }
}

impl Write {
    /// Whether it tells of something that goes on, and will be followed by how it ended.
    fn is_news(&self) -> bool {
        let Self::Status(status) = self else { return false };
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let mut reconciling = conditions.filter(|one| one["type"] == "Reconciling");
        reconciling.any(|one| one["status"] == "True")
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::Instant;

    use super::*;
    use crate::answering::answering;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_answers_is_told_of_as_one_that_failed() {
        let client = Client::try_from(answering(|_, _| None).await).unwrap();
        let (tell, mut told) = unbounded_channel();
        let began = Instant::now();
        let writer = Writer::new(client, Lease::until(began + DEADLINE), "me", tell);
        let name = ObjectName::Target("here".into());
        writer.begin(Change::of(name, &Head::default(), Write::Status(json!({}))));
        assert!(told.recv().await.unwrap().object.is_none());
        assert!(began.elapsed() <= DEADLINE + FAILED, "{:?}", began.elapsed());
    }
}
