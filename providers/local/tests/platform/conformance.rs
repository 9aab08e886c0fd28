//! The conformance suite against the real supervisor.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use portolan_conformance::images::pinned_by_name;
use portolan_conformance::{Account, Cannot, Request, Trouble};
use portolan_core::facts::PinnedImage;
use portolan_core::manifest::Target;
use portolan_core::name::OwnerId;
use portolan_core::plan::{Scope, Verb};
use portolan_core::reference::Digest;
use portolan_core::resource::ResourceId;
use portolan_provider_api::operations::LogQuery;
use portolan_provider_api::{ImageError, Images, PinRequest, Provider, WriteRequest};
use portolan_provider_local::folder_of;
use portolan_supervisor::protocol::Observed;
use portolan_supervisor::spec::{Labels, Object};
use serde_json::{Value, json};

use crate::app::{App, layer, write};
use crate::wire::{Loss, Wire};

portolan_conformance::conformance!(ThisMachine);

struct ThisMachine {
    app: App,
    images: Arc<OneLayer>,
    wire: Wire,
}

impl ThisMachine {
    async fn seen(&self, id: &ResourceId) -> Option<Observed> {
        let mut supervisor = self.app.supervisor().await?;
        let seen = supervisor.observe().await.unwrap().objects.into_iter();
        seen.into_iter().find(|seen| is(&seen.object, id))
    }
}

fn is(object: &Object, id: &ResourceId) -> bool {
    object.kind().to_string() == id.kind.to_lowercase() && object.name() == id.name
}

#[async_trait]
impl Account for ThisMachine {
    const NAME: &'static str = "local";

    async fn new(check: &'static str) -> Option<Self> {
        Some(Self {
            app: App::unwritten(check)?,
            images: Arc::default(),
            wire: Wire::default(),
        })
    }

    async fn close(self) {
        let last = self.provider();
        self.app.delete_everything(last).await;
    }

    fn provider(&self) -> Provider {
        self.app.command_with(self.images.clone())
    }

    fn images(&self) -> Arc<dyn Images> {
        self.images.clone()
    }

    fn target(&self) -> Target {
        Target::local()
    }

    fn app(&self) -> [String; 2] {
        [self.app.scope.namespace.clone(), self.app.scope.app.clone()]
    }

    fn server(&self, port: u16) -> Value {
        json!({ "image": "registry.example/program:1", "command": ["/bin/app", "serve", port.to_string(), "hello"] })
    }

    fn task(&self) -> Value {
        json!({ "image": "registry.example/program:1", "command": ["/bin/app", "exit", "0"] })
    }

    fn failing(&self) -> Value {
        json!({ "image": "registry.example/program:1", "command": ["/bin/app", "exit", "3"] })
    }

    fn free_ports(&self, count: usize) -> Vec<u16> {
        let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        held.iter().map(|one| one.local_addr().unwrap().port()).collect()
    }

    /// By another owner's provider, and then with every label taken off.
    async fn put_foreign(&self, scope: &Scope, id: &ResourceId, body: &Value) {
        let somebody = Scope {
            owner: OwnerId::from_tag("somebody-else"),
            ..scope.clone()
        };
        let request = write(Verb::Create, &id.to_string(), body.clone(), 1);
        let theirs = self.provider();
        theirs.calls.create(&somebody, &request).await.unwrap();
        let mut object = self.seen(id).await.unwrap().object;
        *labels(&mut object) = Labels::new();
        self.app.supervisor().await.unwrap().put(object).await.unwrap();
    }

    async fn change_by_hand(&self, _scope: &Scope, _id: &ResourceId) -> Result<(), Cannot> {
        Err("the supervisor's objects bear none: what was put last is what is wanted")
    }

    async fn copies(&self, _scope: &Scope, id: &ResourceId) -> usize {
        usize::from(self.seen(id).await.is_some())
    }

    /// Each run writes one line.
    async fn runs(&self, scope: &Scope, job: &str) -> usize {
        let query = LogQuery {
            workloads: vec![job.into()],
            ..LogQuery::default()
        };
        let logs = self.provider().logs.unwrap();
        let mut lines = logs.logs(scope, query).await.unwrap();
        let mut count = 0;
        while lines.recv().await.is_some() {
            count += 1;
        }
        count
    }

    fn is_bookkeeping(_field: &str) -> bool {
        false
    }

    fn takes_name(id: &ResourceId) -> bool {
        let object = json!({ "kind": "volume", "name": id.name });
        let object: Object = serde_json::from_value(object).unwrap();
        id.kind == "Image" || object.faults().is_empty()
    }

    fn place(scope: &Scope, id: &ResourceId) -> Option<String> {
        let folder = folder_of(&scope.namespace, &scope.app);
        (id.kind != "Image").then(|| format!("{folder}/{id}"))
    }

    fn tells_targets_apart() -> Result<(), Cannot> {
        Err("one supervisor looks after an app of this machine; to another Target its objects are foreign")
    }

    async fn listen(&self, _scope: &Scope) {
        self.wire.tap(&self.app.socket(), self.app.folder().join("aside.sock"));
    }

    fn requests(&self) -> Vec<String> {
        self.wire.requests()
    }

    async fn lose_next_answer(&self, of: Request<'_>) {
        self.wire.lose_next_answer(match of {
            Request::Look => Loss::OfALook,
            Request::Write(_) => Loss::OfAWrite,
        });
    }

    async fn hide_a_part(&self) -> Result<(), Cannot> {
        Err("one request is answered with the whole of an app, or with an error")
    }

    fn has_long_operations() -> Result<(), Cannot> {
        Err("a put is answered once it is durable, and what it begins is told by the object's state")
    }

    fn fills_in_defaults() -> Result<(), Cannot> {
        Err("a body is a whole spec, defaults and all")
    }

    async fn trouble(&self, _scope: &Scope, trouble: Trouble) -> Result<WriteRequest, Cannot> {
        match trouble {
            Trouble::Throttled => Err("requests wait on their socket for as long as it takes"),
            Trouble::Denied => Err("what runs as root is denied nothing, and another user has a machine of its own"),
            Trouble::Full => {
                let one = |number| json!({"name": format!("use-{number}"), "app": "a.b", "service": "api", "port": 80});
                let uses: Vec<Value> = (0..300).map(one).collect();
                Ok(write(
                    Verb::Update,
                    "Network/app",
                    json!({ "name": "app", "uses": uses }),
                    1,
                ))
            }
            Trouble::Nonsense => {
                let name = "No Name At All";
                Ok(write(
                    Verb::Create,
                    &format!("Volume/{name}"),
                    json!({ "name": name }),
                    1,
                ))
            }
        }
    }
}

fn labels(object: &mut Object) -> &mut Labels {
    match object {
        Object::Network(spec) => &mut spec.labels,
        Object::Volume(spec) => &mut spec.labels,
        Object::Job(spec) => &mut spec.labels,
        Object::Service(spec) => &mut spec.labels,
    }
}

/// A store in which every image holds the test program, under a digest of its own.
#[derive(Default)]
struct OneLayer {
    unpacked: Mutex<BTreeSet<Digest>>,
}

#[async_trait]
impl Images for OneLayer {
    async fn pin(&self, request: &PinRequest) -> Result<PinnedImage, ImageError> {
        Ok(pinned_by_name(request))
    }

    async fn pinned_already(&self, request: &PinRequest) -> Result<Option<PinnedImage>, ImageError> {
        self.pin(request).await.map(Some)
    }

    async fn is_unpacked(&self, digest: &Digest) -> Result<bool, ImageError> {
        Ok(self.unpacked.lock().unwrap().contains(digest))
    }

    async fn unpack(&self, digest: &Digest) -> Result<Vec<PathBuf>, ImageError> {
        self.unpacked.lock().unwrap().insert(digest.clone());
        Ok(vec![layer()])
    }
}
