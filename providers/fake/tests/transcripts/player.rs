//! Replays a transcript: each request becomes the call that it is, at the time at which it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portolan_core::name::OwnerId;
use portolan_core::observation::{ObservedResource, ResourceState};
use portolan_core::plan::{Scope, Verb};
use portolan_core::resource::ResourceId;
use portolan_provider_api::{Accepted, CallError, ErrorClass, WriteRequest};
use portolan_provider_fake::platform::Platform;
use portolan_provider_fake::{FakeCloud, Fault, Rules};
use serde_json::{Map, Value};

use crate::compare::{Etags, differences};
use crate::transcript::{Exchange, Transcript};
use crate::vocabulary::{Call, Meaning, ObjectWords, Operation, Vocabulary, part_of};

/// Where the two disagree, a line each; none if the platform does what the transcript says.
pub fn replay(transcript: &Transcript, vocabulary: &Vocabulary, platform: &Platform) -> Vec<String> {
    let now = Arc::new(AtomicU64::new(0));
    let clock = now.clone();
    let cloud = FakeCloud::of(platform, Arc::new(move || clock.load(Ordering::Relaxed)));
    cloud.set_lags(transcript.header.list_lags, transcript.header.description_lags, None);
    let mut player = Player {
        cloud,
        rules: Rules::of(platform),
        vocabulary,
        etags: Etags::default(),
        operations: BTreeMap::new(),
    };
    let mut lines = Vec::new();
    for (number, exchange) in transcript.exchanges.iter().enumerate() {
        now.store(BEGAN + exchange.at, Ordering::Relaxed);
        let found = player.play(exchange).unwrap_or_else(|line| vec![line]);
        let found = match &exchange.deviates {
            Some(reason) if found.is_empty() => vec![format!("the two agree, though {reason}")],
            Some(_) => Vec::new(),
            None => found,
        };
        // The header is the first line.
        lines.extend(
            found
                .into_iter()
                .map(|line| format!("{} ({}): {line}", number + 2, exchange.step)),
        );
    }
    lines
}

const BEGAN: u64 = 1_000_000;

struct Player<'a> {
    cloud: FakeCloud,
    rules: Rules,
    vocabulary: &'a Vocabulary,
    etags: Etags,
    /// Long operations of the counterpart, and what each works on.
    operations: BTreeMap<String, (Verb, ResourceId)>,
}

type Found = Result<Vec<String>, String>;

impl<'a> Player<'a> {
    fn play(&mut self, exchange: &Exchange) -> Found {
        let operation = self.vocabulary.operations.get(&exchange.ask);
        let operation = operation.ok_or_else(|| format!("no word says what {} is", exchange.ask))?;
        match operation.call {
            Call::Create => self.write(Verb::Create, operation, exchange),
            Call::Update => self.write(Verb::Update, operation, exchange),
            Call::Delete => self.write(Verb::Delete, operation, exchange),
            Call::Describe => self.describe(operation, exchange),
            Call::List => self.list(operation, exchange),
            Call::Operation => self.ask_about(operation, exchange),
            Call::None => Ok(Vec::new()),
        }
    }

    fn write(&mut self, verb: Verb, operation: &Operation, exchange: &Exchange) -> Found {
        let id = self.named(operation, &exchange.request)?.remove(0);
        let request = self.request(verb, &id, operation, exchange)?;
        let fault = exchange.fails_after.map(|ms| Fault::FailLate { ms });
        let answer = self.cloud.write_with(&scope(), &request, fault.as_ref());
        if exchange.is_refused() {
            return self.refusal(exchange, answer.err());
        }
        let accepted = match answer {
            Ok(accepted) => accepted,
            Err(error) => return Ok(vec![format!("it is taken, and in memory refused: {error:?}")]),
        };
        let mut lines = self.begun(verb, &id, operation, exchange, &accepted);
        if let Some(shown) = operation
            .shows
            .as_ref()
            .and_then(|place| exchange.answer.pointer(place))
        {
            lines.extend(self.compare(&id, shown)?);
        }
        Ok(lines)
    }

    fn request(
        &self,
        verb: Verb,
        id: &ResourceId,
        operation: &Operation,
        exchange: &Exchange,
    ) -> Result<WriteRequest, String> {
        let words = self.words(&id.kind)?;
        let asked = exchange.request.pointer(&operation.object).unwrap_or(&Value::Null);
        let text = |place: &Option<String>| exchange.request.pointer(place.as_ref()?)?.as_str();
        let there = self.cloud.objects().remove(id);
        let before = there.as_ref().filter(|_| verb == Verb::Update);
        let revision = words
            .revision
            .as_ref()
            .and_then(|revision| asked.pointer(&revision.asked)?.as_str());
        let revision = revision.map(|name| part_of(name, 1).to_string());
        Ok(WriteRequest {
            verb,
            id: id.clone(),
            body: match verb {
                Verb::Delete => Value::Null,
                Verb::Create | Verb::Update => body(words, asked, before.map(|object| &object.body)),
            },
            revision: revision.or_else(|| before.and_then(|object| object.revision.clone())),
            etag: text(&operation.etag).map(|theirs| self.etags.of(theirs)),
            generation: 1,
            idempotency_token: text(&operation.token).unwrap_or(&exchange.step).to_string(),
            take_over: false,
            erase_data: true,
        })
    }

    /// Whether a long operation was begun there and here.
    fn begun(
        &mut self,
        verb: Verb,
        id: &ResourceId,
        operation: &Operation,
        exchange: &Exchange,
        accepted: &Accepted,
    ) -> Vec<String> {
        let place = operation.operation.as_ref();
        let name = place.and_then(|place| exchange.answer.pointer(place)?.as_str());
        if let Some(name) = name {
            self.operations.insert(name.to_string(), (verb, id.clone()));
        }
        let is_one = matches!(accepted, Accepted::Operation { .. });
        match is_one == name.is_some() {
            true => Vec::new(),
            false => vec![format!(
                "it begins the operation {name:?}, and in memory is answered {accepted:?}"
            )],
        }
    }

    fn describe(&mut self, operation: &Operation, exchange: &Exchange) -> Found {
        let asked = self.named(operation, &exchange.request)?;
        if exchange.is_refused() {
            let meaning = self.vocabulary.meaning(&exchange.ask, &exchange.answer)?;
            let there = asked.iter().filter(|id| self.seen(id).is_some());
            return match meaning.is {
                Meaning::Missing => Ok(there
                    .map(|id| format!("{id} is missing, and in memory there"))
                    .collect()),
                other => Err(format!("a look is never {other:?} here")),
            };
        }
        let mut lines = Vec::new();
        let mut answered = BTreeSet::new();
        for object in self.shown(operation, exchange) {
            let id = self.id_of(operation, object)?;
            lines.extend(self.compare(&id, object)?);
            answered.insert(id);
        }
        let missing = asked
            .iter()
            .filter(|id| !answered.contains(*id) && self.seen(id).is_some());
        lines.extend(missing.map(|id| format!("{id} is not told, and in memory there")));
        Ok(lines)
    }

    fn list(&mut self, operation: &Operation, exchange: &Exchange) -> Found {
        let kind = kind(operation)?;
        let observation = self.cloud.observe(&scope(), &[], &[]);
        let observation = observation.map_err(|error| format!("in memory the list is refused: {error:?}"))?;
        let ours: BTreeSet<ResourceId> = observation.resources.into_keys().filter(|id| id.kind == kind).collect();
        let mut theirs = BTreeSet::new();
        let mut lines = Vec::new();
        for item in self.shown(operation, exchange) {
            let id = match item {
                Value::String(name) => ResourceId::new(kind, part_of(name, operation.part)),
                object => {
                    let id = self.id_of(operation, object)?;
                    lines.extend(self.compare(&id, object)?);
                    id
                }
            };
            theirs.insert(id);
        }
        if ours != theirs {
            lines.push(format!("listed are {theirs:?}, and in memory {ours:?}"));
        }
        Ok(lines)
    }

    fn ask_about(&mut self, operation: &Operation, exchange: &Exchange) -> Found {
        let name = exchange.request.pointer(&operation.name).and_then(Value::as_str);
        let known = name.and_then(|name| self.operations.get(name));
        let (verb, id) = known.cloned().ok_or_else(|| format!("nothing has begun {name:?}"))?;
        let done = operation
            .done
            .as_ref()
            .and_then(|place| exchange.answer.pointer(place)?.as_bool());
        let seen = self.seen(&id);
        let goes_on = match &seen {
            Some(seen) if verb == Verb::Delete => seen.state == ResourceState::Deleting,
            Some(seen) => matches!(seen.state, ResourceState::Progressing { .. }),
            None => false,
        };
        let mut lines = Vec::new();
        if done.unwrap_or(false) == goes_on {
            lines.push(format!("done is {done:?}, and in memory it is {seen:?}"));
        }
        if let Some(shown) = operation
            .shows
            .as_ref()
            .and_then(|place| exchange.answer.pointer(place))
            && seen.is_some()
        {
            lines.extend(self.compare(&id, shown)?);
        }
        Ok(lines)
    }

    fn refusal(&self, exchange: &Exchange, refused: Option<CallError>) -> Found {
        let word = self.vocabulary.meaning(&exchange.ask, &exchange.answer)?;
        let theirs = match word.is {
            Meaning::Done | Meaning::Missing => None,
            meaning => Some((meaning, word.told_as.as_deref())),
        };
        let ours = refused
            .as_ref()
            .map(|error| (meaning(error), Some(error.code.as_str())));
        let agree = match (&theirs, &ours) {
            (Some((theirs, None)), Some((ours, _))) => theirs == ours,
            (theirs, ours) => theirs == ours,
        };
        match agree {
            true => Ok(Vec::new()),
            false => Ok(vec![format!(
                "{} means {theirs:?}, and in memory it is {refused:?}",
                word.code
            )]),
        }
    }

    fn compare(&mut self, id: &ResourceId, answered: &Value) -> Found {
        let seen = self.seen(id);
        let serves = self.cloud.serves(id);
        let words = self.words(&id.kind)?;
        let rules = self
            .rules
            .kind(&id.kind)
            .ok_or_else(|| format!("there is no {id} in memory"))?;
        let lines = differences(
            words,
            rules,
            answered,
            seen.as_ref(),
            serves.as_deref(),
            &mut self.etags,
        );
        Ok(lines.into_iter().map(|line| format!("{id}: {line}")).collect())
    }

    /// By its name alone.
    fn seen(&self, id: &ResourceId) -> Option<ObservedResource> {
        let observation = self.cloud.observe(&scope(), std::slice::from_ref(id), &[]);
        observation.expect("it is asked seldom").resources.remove(id)
    }

    fn named(&self, operation: &Operation, request: &Value) -> Result<Vec<ResourceId>, String> {
        let kind = kind(operation)?;
        let id = |name: &Value| Some(ResourceId::new(kind, part_of(name.as_str()?, operation.part)));
        let named = match request.pointer(&operation.name) {
            Some(Value::Array(names)) => names.iter().map(id).collect(),
            Some(name) => id(name).map(|id| vec![id]),
            None => None,
        };
        named.ok_or_else(|| format!("the request names nothing: {request}"))
    }

    fn shown<'e>(&self, operation: &Operation, exchange: &'e Exchange) -> Vec<&'e Value> {
        let place = operation.shows.as_deref().unwrap_or_default();
        match exchange.answer.pointer(place) {
            Some(Value::Array(items)) => items.iter().collect(),
            Some(one) => vec![one],
            None => Vec::new(),
        }
    }

    fn id_of(&self, operation: &Operation, object: &Value) -> Result<ResourceId, String> {
        let kind = kind(operation)?;
        let place = &self.words(kind)?.name;
        let name = object.pointer(place).and_then(Value::as_str);
        let name = name.ok_or_else(|| format!("an object without a name: {object}"))?;
        Ok(ResourceId::new(kind, part_of(name, 1)))
    }

    fn words(&self, kind: &str) -> Result<&'a ObjectWords, String> {
        let words = self.vocabulary.objects.get(kind);
        words.ok_or_else(|| format!("no word says what a {kind} says"))
    }
}

fn kind(operation: &Operation) -> Result<&str, String> {
    operation
        .kind
        .as_deref()
        .ok_or_else(|| "the operation is of no kind".to_string())
}

/// What is asked for, over what was there.
fn body(words: &ObjectWords, asked: &Value, before: Option<&Value>) -> Value {
    let mut body = before.and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
    let given = words
        .fields
        .iter()
        .filter_map(|(field, place)| Some((field, asked.pointer(place)?)));
    body.extend(given.map(|(field, value)| (field.clone(), value.clone())));
    Value::Object(body)
}

fn meaning(error: &CallError) -> Meaning {
    match error.class {
        ErrorClass::Retry { .. } => Meaning::Retry,
        ErrorClass::Conflict => Meaning::Conflict,
        ErrorClass::Denied => Meaning::Denied,
        ErrorClass::Quota => Meaning::Quota,
        ErrorClass::Invalid => Meaning::Invalid,
        ErrorClass::Bug => panic!("the platform calls it our mistake: {error:?}"),
    }
}

fn scope() -> Scope {
    Scope {
        namespace: "default".into(),
        app: "shop".into(),
        target: "cloud".into(),
        owner: OwnerId::derive("default", "shop", "cloud", "fake-account"),
        source: "file".into(),
    }
}
