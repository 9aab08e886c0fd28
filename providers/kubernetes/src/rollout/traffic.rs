//! What leads connections to the pods of two revisions: the KubeServices of blue and green, and the route of a canary.

use serde_json::{Value, json};

use crate::kinds::{HTTP_ROUTE, Kind, SERVICE};
use crate::names::{annotation, label};
use crate::read::{items, note, number};
use crate::write;

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// All of a KubeService's, by the name of a Deployment.
    To(String),
    /// That share of a route's to the next, in percent.
    Weight(u8),
}

/// Whether a rollout says where its connections go: of an object that is there, or was rendered.
pub fn is_led(kind: &Kind, object: &Value) -> bool {
    let strategy = note(object, annotation::STRATEGY);
    match kind {
        kind if kind == &SERVICE => strategy == Some("blueGreen"),
        kind if kind == &HTTP_ROUTE => strategy == Some("canary"),
        _ => false,
    }
}

/// Where it leads now.
pub fn leads(kind: &Kind, object: &Value) -> Option<Traffic> {
    match kind {
        kind if kind == &SERVICE => {
            let to = object.pointer("/spec/selector")?.get(label::INSTANCE)?.as_str()?;
            Some(Traffic::To(to.to_string()))
        }
        _ => {
            let next = items(object, "/spec/rules/0/backendRefs").nth(1)?;
            Some(Traffic::Weight(u8::try_from(number(next, "/weight")).ok()?))
        }
    }
}

/// Where all of a service's connections go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Led {
    /// What a route gives the next, in percent.
    pub weight: Option<u8>,
    /// Whether any go elsewhere than to the service's own.
    pub is_away: bool,
}

impl Led {
    /// By objects that a rollout leads.
    pub fn by<'a>(own: &str, objects: impl IntoIterator<Item = (&'static Kind, &'a Value)>) -> Self {
        let mut led = Self::default();
        for (kind, object) in objects.into_iter().filter(|(kind, object)| is_led(kind, object)) {
            let traffic = leads(kind, object);
            led.is_away |= traffic.as_ref().is_some_and(|traffic| *traffic != home(kind, own));
            if let Some(Traffic::Weight(weight)) = traffic {
                led.weight = Some(weight);
            }
        }
        led
    }
}

/// Where it leads while no rollout is under way, as it was rendered.
pub fn home(kind: &Kind, own: &str) -> Traffic {
    match kind {
        kind if kind == &SERVICE => Traffic::To(own.to_string()),
        _ => Traffic::Weight(0),
    }
}

impl Traffic {
    /// Led there.
    pub fn lead(&self, object: &mut Value) {
        match self {
            Self::To(name) => object["spec"]["selector"][label::INSTANCE] = json!(name),
            Self::Weight(weight) => {
                let backends = object.pointer_mut("/spec/rules/0/backendRefs");
                let Some(Value::Array(backends)) = backends else { return };
                for (backend, weight) in backends.iter_mut().zip([100 - weight, *weight]) {
                    backend["weight"] = json!(weight);
                }
            }
        }
    }

    /// A JSON patch that leads `live` there, and only `live`.
    pub fn patch(&self, live: &Value) -> Value {
        let mut led = live.clone();
        self.lead(&mut led);
        write::replaced(live, "/spec", &led["spec"])
    }
}
