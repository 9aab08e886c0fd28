//! What was asked, how often and with which fault, and what the server has made and taken away for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Uri};
use serde_json::Value;

use super::AGAIN;
use super::faults::{Armed, Fault};

/// What comes so soon after a refusal was asked before it was there.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// A verb, and what it is asked of: `deployments`, `pods/log`. A list that goes on is one of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub verb: &'static str,
    pub of: String,
}

#[derive(Default)]
pub struct Ledger {
    armed: Armed,
    times: BTreeMap<Call, usize>,
    /// Those that a fault befell.
    pub met: BTreeSet<(Call, Fault)>,
    /// How often objects of each path were made, and taken away.
    pub made: BTreeMap<String, usize>,
    pub taken: BTreeMap<String, usize>,
    lists: BTreeMap<String, Vec<u8>>,
    refused: BTreeMap<String, Instant>,
    /// Came again sooner than they were told to.
    pub hasty: Vec<String>,
}

impl Call {
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        // Behind the group and version, and the namespace of what is in one.
        let words: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let words = match words.first() {
            Some(&"api") => &words[2..],
            _ => words.get(3..).unwrap_or_default(),
        };
        let words = match words {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            words => words,
        };
        let verb = match (method.as_str(), words.len()) {
            ("GET", _) if query.contains("watch=true") => "watch",
            ("GET", 0 | 1) if query.contains("continue=") => "list on",
            ("GET", 0 | 1) => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            _ => "delete",
        };
        let of = match words {
            [of, _, sub, ..] => format!("{of}/{sub}"),
            [of, ..] => (*of).to_string(),
            [] => uri.path().to_string(),
        };
        Self { verb, of }
    }

    /// Of the engine, which comes again when it is told to.
    fn is_the_engines(&self) -> bool {
        !matches!(
            self.of.as_str(),
            "leases" | "apps" | "apps/status" | "targets" | "targets/status" | "events"
        )
    }
}

impl Ledger {
    pub fn new(armed: Armed) -> Self {
        Self {
            armed,
            ..Self::default()
        }
    }

    /// Whether lists come over pages.
    pub fn has_pages(&self) -> bool {
        self.armed.faults.contains(&Fault::Expired)
    }

    pub fn calls(&self) -> BTreeSet<Call> {
        self.times.keys().cloned().collect()
    }

    /// Writes it down; answers what shall befall it.
    pub fn asked(&mut self, call: &Call, uri: &Uri, body: &[u8]) -> Option<Fault> {
        let about = format!("{} {}", call.verb, about(uri, body));
        let since = self.refused.remove(&about).map(|at| at.elapsed());
        if since.is_some_and(|since| since > ON_ITS_WAY && since < AGAIN) && call.is_the_engines() {
            self.hasty.push(format!("{about} after {since:?}"));
        }
        let times = self.times.entry(call.clone()).or_default();
        *times += 1;
        let fault = self.armed.fault(call, *times);
        if fault == Some(Fault::Stale) && !self.lists.contains_key(&uri.to_string()) {
            // Its time comes when there is an older one.
            *times -= 1;
            return None;
        }
        if let Some(fault) = fault {
            self.met.insert((call.clone(), fault));
        }
        if fault == Some(Fault::Throttled) {
            self.refused.insert(about, Instant::now());
        }
        fault
    }

    /// Whoever comes now is somebody else, who was told nothing.
    pub fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    pub fn answered(&mut self, call: &Call, uri: &str, body: &[u8], status: StatusCode) {
        let Ok(uri) = uri.parse::<Uri>() else { return };
        let about = about(&uri, body);
        match call.verb {
            "create" if status == StatusCode::CREATED && call.of != "events" => {
                *self.made.entry(about).or_default() += 1
            }
            "delete" if status.is_success() => *self.taken.entry(about).or_default() += 1,
            _ => {}
        }
    }

    pub fn remember(&mut self, uri: String, body: &[u8]) {
        self.lists.insert(uri, body.to_vec());
    }

    pub fn older(&mut self, uri: &str) -> Option<Vec<u8>> {
        self.lists.get(uri).cloned()
    }
}

/// The path of the object.
fn about(uri: &Uri, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match body["metadata"]["name"].as_str() {
        Some(name) if !uri.path().contains(name) => format!("{}/{name}", uri.path()),
        _ => uri.path().to_string(),
    }
}
