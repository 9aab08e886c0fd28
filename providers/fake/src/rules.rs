//! A platform's table, made ready to be looked up.

use portolan_core::name::NameGrammar;
use serde_json::Value;

use crate::kinds::{KINDS, Kind};
use crate::platform::{Peculiarity, Platform};

/// What holds for every call, and for each kind.
#[derive(Clone, Debug)]
pub struct Rules {
    pub list_lag_ms: u64,
    pub description_lag_ms: u64,
    pub throttle: Option<Throttle>,
    /// That of writes, where they have one of their own.
    pub write_throttle: Option<Throttle>,
    pub has_balancers: bool,
    kinds: Vec<KindRules>,
}

#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    pub burst: u32,
    pub per_second: u32,
    pub code: &'static str,
    pub retry_after_ms: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct KindRules {
    /// With the platform's times.
    pub kind: Kind,
    pub grammar: NameGrammar,
    pub quota: Option<usize>,
    pub client_token: bool,
    pub hidden_while_draining: bool,
    pub one_operation_at_a_time: bool,
    pub etag: bool,
    pub outputs_late_ms: u64,
    pub defaults: Vec<(&'static str, Value)>,
    pub reordered: Vec<&'static str>,
    pub recased: Vec<&'static str>,
    pub immutable: Vec<&'static str>,
}

impl Rules {
    pub fn of(platform: &Platform) -> Self {
        let mut rules = Self {
            list_lag_ms: 0,
            description_lag_ms: 0,
            throttle: None,
            write_throttle: None,
            has_balancers: false,
            kinds: KINDS.map(KindRules::plain).to_vec(),
        };
        for fact in platform.facts {
            rules.learn(fact.is);
        }
        rules
    }

    /// What the platform takes in a second, if it says so.
    pub fn requests_per_second(&self) -> Option<u32> {
        self.throttle.map(|throttle| throttle.per_second)
    }

    pub fn kind(&self, name: &str) -> Option<&KindRules> {
        self.kinds.iter().find(|rules| rules.kind.name == name)
    }

    fn learn(&mut self, fact: Peculiarity) {
        match fact {
            Peculiarity::ListLags { most } => self.list_lag_ms = most,
            Peculiarity::DescriptionLags { most } => self.description_lag_ms = most,
            Peculiarity::Throttles {
                burst,
                per_second,
                code,
                retry_after,
            } => {
                self.throttle = Some(Throttle {
                    burst,
                    per_second,
                    code,
                    retry_after_ms: retry_after,
                });
            }
            Peculiarity::ThrottlesWrites { burst, per_second } => {
                let throttle = self.throttle.expect("the table has said how it throttles");
                self.write_throttle = Some(Throttle {
                    burst,
                    per_second,
                    ..throttle
                });
            }
            Peculiarity::HasBalancers => self.has_balancers = true,
            Peculiarity::Quota { kind, most } => self.of_kind(kind).quota = Some(most),
            Peculiarity::LongestName { kind, characters } => self.of_kind(kind).grammar.max_length = characters,
            Peculiarity::NamesAreUnique { kind } => {
                let rules = self.of_kind(kind);
                rules.kind.names_are_unique = true;
                rules.client_token = false;
            }
            Peculiarity::ClientToken { kind } => self.of_kind(kind).client_token = true,
            Peculiarity::Drains { kind, takes } => self.of_kind(kind).kind.deleting_ms = takes,
            Peculiarity::HiddenWhileDraining { kind } => self.of_kind(kind).hidden_while_draining = true,
            Peculiarity::Default { kind, field, value } => {
                let value = serde_json::from_str(value).expect("the table's defaults are JSON");
                self.of_kind(kind).defaults.push((field, value));
            }
            Peculiarity::Reorders { kind, field } => self.of_kind(kind).reordered.push(field),
            Peculiarity::Recases { kind, field } => self.of_kind(kind).recased.push(field),
            Peculiarity::OutputsAreLate { kind, by } => self.of_kind(kind).outputs_late_ms = by,
            Peculiarity::Operation { kind, takes } => {
                let rules = self.of_kind(kind);
                rules.kind.operation_ms = Some(takes);
                rules.kind.ready_after_ms = rules.kind.ready_after_ms.max(takes);
            }
            Peculiarity::OneOperationAtATime { kind } => self.of_kind(kind).one_operation_at_a_time = true,
            Peculiarity::Etag { kind } => self.of_kind(kind).etag = true,
            Peculiarity::ReadyAfter { kind, takes } => self.of_kind(kind).kind.ready_after_ms = takes,
            Peculiarity::Immutable { kind, field } => self.of_kind(kind).immutable.push(field),
        }
    }

    fn of_kind(&mut self, name: &str) -> &mut KindRules {
        let mut kinds = self.kinds.iter_mut();
        kinds
            .find(|rules| rules.kind.name == name)
            .expect("the table names kinds that there are")
    }
}

impl KindRules {
    /// Where names are not unique, tokens keep a repeated create from making a second one.
    fn plain(kind: Kind) -> Self {
        Self {
            kind,
            grammar: NameGrammar::LABEL,
            quota: None,
            client_token: !kind.names_are_unique,
            hidden_while_draining: false,
            one_operation_at_a_time: false,
            etag: false,
            outputs_late_ms: 0,
            defaults: Vec::new(),
            reordered: Vec::new(),
            recased: Vec::new(),
            immutable: Vec::new(),
        }
    }

    /// Whether the platform takes the name: one label of at most so many characters.
    pub fn takes_name(&self, name: &str) -> bool {
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == self.grammar.separator;
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        name.len() <= self.grammar.max_length
            && name.chars().all(inside)
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && ends(name.chars().last())
    }
}
