//! Where the engine asks something of the world: every place at which a fault can strike.

use std::fmt;

use portolan_core::plan::Verb;
use portolan_core::resource::ResourceId;
use portolan_engine::machine::Ask;
use portolan_provider_fake::kinds::KINDS;

use super::local::IMAGE;

/// A call site. Writes are told apart by verb and kind, because what a platform does about them differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    Realm,
    Pin,
    Observe,
    Preflight,
    Journal,
    Note,
    Write(Verb, &'static str),
}

pub const SITES: usize = OF_NOTE + 1;

/// Images are made and never changed: a store keeps them for whoever needs them.
const OF_IMAGE: usize = 5 + 3 * KINDS.len();

const OF_NOTE: usize = OF_IMAGE + 1;

const VERBS: [Verb; 3] = [Verb::Create, Verb::Update, Verb::Delete];

impl Site {
    pub fn all() -> impl Iterator<Item = Self> {
        let writes = VERBS
            .into_iter()
            .flat_map(|verb| KINDS.iter().map(move |kind| Self::Write(verb, kind.name)));
        [Self::Realm, Self::Pin, Self::Observe, Self::Preflight, Self::Journal]
            .into_iter()
            .chain(writes)
            .chain([Self::Write(Verb::Create, IMAGE), Self::Note])
    }

    /// `None` for what asks a person.
    pub fn of(ask: &Ask) -> Option<Self> {
        match ask {
            Ask::Realm => Some(Self::Realm),
            Ask::Pin(_) => Some(Self::Pin),
            Ask::Observe { .. } => Some(Self::Observe),
            Ask::Preflight { .. } => Some(Self::Preflight),
            Ask::Write(_) => Some(Self::Journal),
            Ask::Note { .. } => Some(Self::Note),
            Ask::Call { request, .. } => Some(Self::Write(request.verb, kind_of(&request.id))),
            Ask::Approve { .. } => None,
        }
    }

    pub fn index(self) -> usize {
        match self {
            Self::Realm => 0,
            Self::Pin => 1,
            Self::Observe => 2,
            Self::Preflight => 3,
            Self::Journal => 4,
            Self::Note => OF_NOTE,
            Self::Write(_, kind) if kind == IMAGE => OF_IMAGE,
            Self::Write(verb, kind) => {
                let verb = VERBS.iter().position(|one| *one == verb).unwrap_or_default();
                let kind = KINDS.iter().position(|one| one.name == kind).unwrap_or_default();
                5 + verb * KINDS.len() + kind
            }
        }
    }

    /// Whether the budget of the account counts it.
    pub fn is_budgeted(self) -> bool {
        matches!(self, Self::Observe | Self::Preflight) || self.changes_something()
    }

    /// At the target.
    pub fn changes_something(self) -> bool {
        matches!(self, Self::Write(..) | Self::Note)
    }
}

fn kind_of(id: &ResourceId) -> &'static str {
    let mut kinds = KINDS.iter().map(|kind| kind.name).chain([IMAGE]);
    kinds.find(|kind| *kind == id.kind).expect("it is a kind that there is")
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(verb, kind) => write!(f, "{} {kind}", format!("{verb:?}").to_lowercase()),
            other => f.write_str(&format!("{other:?}").to_lowercase()),
        }
    }
}
