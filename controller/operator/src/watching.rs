//! The objects of one kind, as they come: listed page by page, then watched, and listed anew where the watch has lost its
//! place. Of each only what this crate looks at goes on; the page is dropped with the rest.

use std::pin::pin;

use futures_util::StreamExt;
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use tokio::sync::mpsc::Sender;
use tracing::warn;

/// As many objects as are in memory at once while they are listed.
const PAGE: u32 = 200;

/// How many seconds a watch lasts before it goes on as another one: a connection that died in silence is found out by then.
const LASTS: u32 = 60;

/// What is heard of a kind.
pub enum Seen {
    /// All objects follow, and what is not among them is gone.
    Begin,
    Listed(Box<DynamicObject>),
    End,
    Changed(Box<DynamicObject>),
    Gone(Box<DynamicObject>),
}

impl Seen {
    fn object(&self) -> Option<&DynamicObject> {
        match self {
            Self::Begin | Self::End => None,
            Self::Listed(object) | Self::Changed(object) | Self::Gone(object) => Some(object),
        }
    }
}

/// Tells everything of those objects, until nobody listens.
pub async fn watch<T: Send>(
    api: Api<DynamicObject>,
    tell: Sender<T>,
    as_told: fn(Seen) -> T,
    is_wanted: impl Fn(&DynamicObject) -> bool + Send,
) {
    let events = watcher(api, Config::default().page_size(PAGE).timeout(LASTS)).default_backoff();
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        let seen = match event {
            Ok(event) => seen(event.modify(|object| object.metadata.managed_fields = None)),
            Err(error) => {
                warn!(%error, "the objects cannot be watched; it is tried again");
                continue;
            }
        };
        if seen.object().is_some_and(|object| !is_wanted(object)) {
            continue;
        }
        if tell.send(as_told(seen)).await.is_err() {
            return;
        }
    }
}

fn seen(event: Event<DynamicObject>) -> Seen {
    match event {
        Event::Init => Seen::Begin,
        Event::InitApply(object) => Seen::Listed(Box::new(object)),
        Event::InitDone => Seen::End,
        Event::Apply(object) => Seen::Changed(Box::new(object)),
        Event::Delete(object) => Seen::Gone(Box::new(object)),
    }
}
