//! What watches have brought, as far as looks need it: a fold of listings, events and answers to our own writes. Pure.
//!
//! An object is held as text, for a tree of it takes several times as much memory. Whatever comes is held against the
//! version of what is there, so that an event from before a write of ours changes nothing; and what a delete of ours has
//! taken away is remembered by its uid until the watch has told of it, so that no earlier event brings it back.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use portolan_core::plan::Scope;
use serde_json::Value;

use super::object::Object;
use crate::kinds::Kind;

/// Whose objects have changed, in the engine's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub namespace: String,
    pub app: String,
    pub target: String,
}

/// Objects of one cluster that bear an owner's label, and who has looked at them.
#[derive(Default)]
pub struct Store {
    hasher: RandomState,
    /// By kind, KubeNamespace and name.
    objects: HashMap<Hash, Held>,
    /// By the label's value.
    owners: HashMap<Hash, Owner>,
    /// Of each kind, by its name.
    listings: HashMap<&'static str, u32>,
    /// The version that each kind's watch has come to.
    reached: HashMap<&'static str, u64>,
    /// The uids that our deletes have taken away, and during which listing of their kind.
    gone: HashMap<Hash, (&'static str, u32)>,
}

/// Sixty-four bits tell millions of texts apart, and are shorter than any of them.
type Hash = u64;

struct Held {
    kind: &'static Kind,
    owner: Hash,
    uid: Hash,
    version: u64,
    /// The listing of its kind that has shown it last.
    listing: u32,
    text: Box<str>,
}

/// Which object it is that is held under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(Hash);

#[derive(Default)]
struct Owner {
    places: Vec<Hash>,
    subject: Option<Box<Subject>>,
}

impl Store {
    /// Whoever looks is told of what changes afterwards.
    pub fn looked_at(&mut self, scope: &Scope) {
        let owner = self.hasher.hash_one(scope.owner.as_str());
        let owner = self.owners.entry(owner).or_default();
        owner.subject.get_or_insert_with(|| {
            Box::new(Subject {
                namespace: scope.namespace.clone(),
                app: scope.app.clone(),
                target: scope.target.clone(),
            })
        });
    }

    /// All objects of the kind follow, and what is not among them is gone.
    pub fn begin_listing(&mut self, kind: &'static Kind) {
        *self.listings.entry(kind.name).or_default() += 1;
    }

    /// What was listed as of `version` is all of it; what is held in a later one was written since. Answers whose has gone.
    pub fn end_listing(&mut self, kind: &'static Kind, version: u64) -> BTreeSet<Subject> {
        self.reached(kind, version);
        let now = self.listing(kind);
        self.gone.retain(|_, (of, before)| *of != kind.name || *before == now);
        let went = |held: &Held| held.kind == kind && held.listing != now && held.version <= version;
        let went = self.objects.iter().filter(|(_, held)| went(held));
        let went: Vec<Hash> = went.map(|(place, _)| *place).collect();
        went.into_iter().filter_map(|place| self.remove(place)).collect()
    }

    /// The watch has told everything up to that version.
    pub fn reached(&mut self, kind: &'static Kind, version: u64) {
        self.reached.insert(kind.name, version);
    }

    /// An object as an answer to ourselves shows it. What the watch has told up to there says the same, or that it has been
    /// deleted since.
    pub fn answered(&mut self, kind: &'static Kind, object: Object) {
        let reached = self.reached.get(kind.name).copied().unwrap_or_default();
        if object.version() > reached {
            self.take(kind, object);
        }
    }

    /// An object as it was at its version. Answers whose it is, if that is news.
    pub fn take(&mut self, kind: &'static Kind, object: Object) -> Option<Subject> {
        let place = self.place(kind, object.kube_namespace(), object.name());
        let (version, listing) = (object.version(), self.listing(kind));
        let uid = self.hasher.hash_one(object.uid());
        let Some(owner) = object.owner().filter(|_| !self.gone.contains_key(&uid)) else {
            return self.drop_older(place, version);
        };
        let owner = self.hasher.hash_one(owner);
        if let Some(known) = self.objects.get_mut(&place).filter(|known| known.version > version) {
            known.listing = listing;
            return None;
        }
        let held = Held {
            kind,
            owner,
            uid,
            version,
            listing,
            text: object.text(kind).into(),
        };
        match self.objects.get_mut(&place) {
            Some(known) if known.owner == held.owner => {
                let is_news = known.text != held.text;
                *known = held;
                is_news.then(|| self.subject(owner)).flatten()
            }
            _ => {
                self.remove(place);
                self.owners.entry(owner).or_default().places.push(place);
                self.objects.insert(place, held);
                self.subject(owner)
            }
        }
    }

    /// The watch says that it has been deleted.
    pub fn deleted(&mut self, kind: &'static Kind, object: &Object) -> Option<Subject> {
        self.gone.remove(&self.hasher.hash_one(object.uid()));
        let place = self.place(kind, object.kube_namespace(), object.name());
        self.drop_older(place, object.version())
    }

    /// What is held under the name now, to be told from what comes after it.
    pub fn held(&self, kind: &'static Kind, kube_namespace: &str, name: &str) -> Option<Stamp> {
        let held = self.objects.get(&self.place(kind, kube_namespace, name))?;
        Some(Stamp(held.uid))
    }

    /// An answer to ourselves says that what was held before we asked is not there any more.
    pub fn is_gone(&mut self, kind: &'static Kind, kube_namespace: &str, name: &str, before: &Stamp) {
        if self.held(kind, kube_namespace, name).as_ref() == Some(before) {
            self.gone.insert(before.0, (kind.name, self.listing(kind)));
            self.remove(self.place(kind, kube_namespace, name));
        }
    }

    pub fn objects(&self, kind: &Kind, kube_namespace: &str, owner: &str) -> Vec<Value> {
        let places = self
            .owners
            .get(&self.hasher.hash_one(owner))
            .map_or(&[][..], |owner| &owner.places);
        let held = places.iter().filter_map(|place| self.objects.get(place));
        let held = held.filter(|held| held.kind == kind);
        let values = held.map(|held| serde_json::from_str(&held.text).expect("it was written as JSON"));
        let values = values.filter(|value: &Value| value["metadata"]["namespace"] == kube_namespace);
        values.collect()
    }

    fn drop_older(&mut self, place: Hash, version: u64) -> Option<Subject> {
        let is_older = self.objects.get(&place)?.version <= version;
        is_older.then(|| self.remove(place)).flatten()
    }

    fn remove(&mut self, place: Hash) -> Option<Subject> {
        let held = self.objects.remove(&place)?;
        let subject = self.subject(held.owner);
        let owner = self.owners.get_mut(&held.owner)?;
        owner.places.retain(|other| *other != place);
        if owner.places.is_empty() {
            self.owners.remove(&held.owner);
        }
        subject
    }

    fn subject(&self, owner: Hash) -> Option<Subject> {
        self.owners.get(&owner)?.subject.as_deref().cloned()
    }

    fn listing(&self, kind: &Kind) -> u32 {
        self.listings.get(kind.name).copied().unwrap_or_default()
    }

    fn place(&self, kind: &Kind, kube_namespace: &str, name: &str) -> Hash {
        self.hasher.hash_one((kind.name, kube_namespace, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{CONFIG_MAP, SERVICE};
    use serde_json::json;

    /// What happens to the one object `a`, of the uid and in the version that are named.
    enum Happens {
        Asked,
        Listing,
        Listed(u64),
        Reached(u64),
        Seen(&'static str, u64),
        SeenWithout(u64),
        Deleted(&'static str, u64),
        Answered(u64),
        AnsweredGone,
    }
    use Happens::{Answered, AnsweredGone, Asked, Deleted, Listed, Listing, Reached, Seen, SeenWithout};

    fn object(uid: &str, version: u64, owner: Option<&str>) -> Object {
        let object = json!({
            "metadata": {
                "name": "a", "namespace": "shop", "uid": uid, "resourceVersion": version.to_string(),
                "labels": owner.map_or_else(|| json!({}), |owner| json!({ "portolan.dev/owner": owner })),
            },
            "data": { "version": version },
        });
        serde_json::from_value(object).unwrap()
    }

    fn fold(happened: &[Happens]) -> Option<u64> {
        let (mut store, mut before) = (Store::default(), None);
        for one in happened {
            match one {
                Asked => before = store.held(&CONFIG_MAP, "shop", "a"),
                Listing => store.begin_listing(&CONFIG_MAP),
                Listed(version) => drop(store.end_listing(&CONFIG_MAP, *version)),
                Seen(uid, version) => drop(store.take(&CONFIG_MAP, object(uid, *version, Some("me")))),
                Reached(version) => store.reached(&CONFIG_MAP, *version),
                SeenWithout(version) => drop(store.take(&CONFIG_MAP, object("one", *version, None))),
                Deleted(uid, version) => drop(store.deleted(&CONFIG_MAP, &object(uid, *version, Some("me")))),
                Answered(version) => store.answered(&CONFIG_MAP, object("one", *version, Some("me"))),
                AnsweredGone => before
                    .iter()
                    .for_each(|before| store.is_gone(&CONFIG_MAP, "shop", "a", before)),
            }
        }
        let held = store.objects(&CONFIG_MAP, "shop", "me");
        assert!(held.len() <= 1);
        held.first().and_then(|one| one["data"]["version"].as_u64())
    }

    #[test]
    fn the_latest_of_what_was_told_is_held() {
        for (reason, happened, expected) in [
            ("listed", vec![Listing, Seen("one", 3), Listed(5)], Some(3)),
            ("changed", vec![Seen("one", 3), Seen("one", 4)], Some(4)),
            (
                "an event from before our own write",
                vec![Seen("one", 4), Seen("one", 3)],
                Some(4),
            ),
            ("deleted", vec![Seen("one", 3), Deleted("one", 4)], None),
            (
                "a delete from before it was made again",
                vec![Seen("one", 3), Seen("two", 6), Deleted("one", 5)],
                Some(6),
            ),
            (
                "what is not listed any more",
                vec![Seen("one", 3), Listing, Listed(5)],
                None,
            ),
            (
                "what was written while it was listed",
                vec![Listing, Seen("one", 6), Listing, Listed(5)],
                Some(6),
            ),
            ("our delete", vec![Seen("one", 3), Asked, AnsweredGone], None),
            (
                "an event from before our delete",
                vec![Seen("one", 3), Asked, AnsweredGone, Seen("one", 4)],
                None,
            ),
            (
                "another one after our delete",
                vec![Seen("one", 3), Asked, AnsweredGone, Seen("two", 6)],
                Some(6),
            ),
            (
                "a listing from before our delete",
                vec![Seen("one", 3), Listing, Asked, AnsweredGone, Seen("one", 3), Listed(3)],
                None,
            ),
            (
                "what was made while we asked",
                vec![Asked, Seen("one", 3), AnsweredGone],
                Some(3),
            ),
            (
                "what was made again while we asked",
                vec![Seen("one", 3), Asked, Seen("two", 6), AnsweredGone],
                Some(6),
            ),
            (
                "that delete, told by the watch",
                vec![Seen("one", 3), Asked, AnsweredGone, Seen("one", 4), Deleted("one", 5)],
                None,
            ),
            ("our own write", vec![Seen("one", 3), Reached(3), Answered(4)], Some(4)),
            (
                "an answer that comes after the watch has told of its end",
                vec![Seen("one", 3), Deleted("one", 5), Reached(5), Answered(4)],
                None,
            ),
            (
                "somebody has taken the label away",
                vec![Seen("one", 3), SeenWithout(4)],
                None,
            ),
        ] {
            assert_eq!(fold(&happened), expected, "{reason}");
        }
    }

    #[test]
    fn whoever_has_looked_is_told_of_what_changes() {
        let mut store = Store::default();
        let scope = |owner: &str| Scope {
            namespace: "team".into(),
            app: "shop".into(),
            target: "here".into(),
            owner: portolan_core::name::OwnerId::from_tag(owner),
            source: "file".into(),
        };
        let me = |version| object("one", version, Some("me"));
        assert_eq!(store.take(&CONFIG_MAP, me(1)), None, "nobody has looked");
        store.looked_at(&scope("me"));
        let told = store.take(&CONFIG_MAP, me(2)).map(|subject| subject.app);
        assert_eq!(told.as_deref(), Some("shop"));
        let mut same = me(2);
        same.metadata.resource_version = "3".into();
        assert_eq!(store.take(&CONFIG_MAP, same), None, "the same in another version");
        store.looked_at(&scope("you"));
        store.take(&CONFIG_MAP, object("one", 4, Some("you")));
        assert!(
            store.objects(&CONFIG_MAP, "shop", "me").is_empty(),
            "it is another's now"
        );
        assert_eq!(store.objects(&CONFIG_MAP, "shop", "you").len(), 1);
        assert!(store.objects(&CONFIG_MAP, "elsewhere", "you").is_empty());
        assert!(store.objects(&SERVICE, "shop", "you").is_empty());
        assert!(store.deleted(&CONFIG_MAP, &object("one", 5, Some("you"))).is_some());
    }
}
