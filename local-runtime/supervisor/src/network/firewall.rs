//! The rules of one app's network: what may cross the border of its bridge. Pure.
//!
//! They stand in a table of the app's own, for IPv4, which is all that an app's network has. Rules of others on this
//! machine are neither changed nor overruled: what one of them drops stays dropped.

use super::names::{BRIDGES, table_name};
use crate::machine::Subnet;
use crate::spec::Egress;

pub struct Table {
    pub name: String,
    pub comment: String,
    pub chains: Vec<Chain>,
}

/// A chain that the kernel calls at one of its hooks; what no rule decides is accepted.
pub struct Chain {
    pub name: &'static str,
    pub kind: &'static str,
    pub hook: u32,
    pub priority: i32,
    pub rules: Vec<Vec<Expression>>,
}

/// A condition, or what is done when all those before it hold.
pub enum Expression {
    Input(Compare, Link),
    Output(Compare, Link),
    Source(Compare, Subnet),
    Destination(Compare, Subnet),
    /// Belongs to no connection that is there already.
    Opens,
    /// No rule of anybody has sent the connection elsewhere than it wanted.
    NotTranslated,
    Accept,
    Drop,
    Masquerade,
}

#[derive(Clone, Copy)]
pub enum Compare {
    Is,
    IsNot,
}

pub enum Link {
    Named(String),
    Beginning(&'static str),
}

/// `uplinks`: links that forward for the sake of apps alone.
pub struct Border<'a> {
    pub instance: &'a str,
    pub bridge: &'a str,
    pub subnet: Subnet,
    pub egress: Egress,
    pub uplinks: &'a [String],
}

/// Hooks and priorities of `linux/netfilter_ipv4.h`.
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const AFTER_ROUTING: u32 = 4;
const FILTER: i32 = 0;
const SOURCE_NAT: i32 = 100;

pub fn table(border: &Border) -> Table {
    let chain = |name, kind, hook, priority, rules| Chain {
        name,
        kind,
        hook,
        priority,
        rules,
    };
    let mut chains = vec![
        chain("input", "filter", INPUT, FILTER, input(border)),
        chain("forward", "filter", FORWARD, FILTER, forward(border)),
    ];
    if border.egress == Egress::Nat {
        chains.push(chain(
            "masquerade",
            "nat",
            AFTER_ROUTING,
            SOURCE_NAT,
            masquerade(border),
        ));
    }
    Table {
        name: table_name(border.instance),
        comment: comment(border.uplinks),
        chains,
    }
}

const FORWARDS: &str = "forwards:";

/// The links are named in the table's comment, which lasts exactly as long as what was done to them.
pub fn comment(uplinks: &[String]) -> String {
    format!("{FORWARDS} {}", uplinks.join(" "))
}

pub fn uplinks_in(comment: &str) -> impl Iterator<Item = &str> {
    comment.strip_prefix(FORWARDS).unwrap_or_default().split_whitespace()
}

/// Every address of a machine answers on all its links: those of the app must not, but to the app and the machine itself.
fn input(border: &Border) -> Vec<Vec<Expression>> {
    use Expression::*;
    vec![
        vec![from_bridge(border), Source(Compare::IsNot, border.subnet), Drop],
        vec![
            Destination(Compare::Is, border.subnet),
            Input(Compare::IsNot, bridge(border)),
            Input(Compare::IsNot, Link::Named("lo".into())),
            Drop,
        ],
    ]
}

/// Frames from replica to replica are forwarded packets too where the machine filters its bridges (`br_netfilter`).
fn forward(border: &Border) -> Vec<Vec<Expression>> {
    use Expression::*;
    let mut rules = vec![
        vec![from_bridge(border), Source(Compare::IsNot, border.subnet), Drop],
        vec![from_bridge(border), to_bridge(border), Accept],
        vec![from_bridge(border), Output(Compare::Is, Link::Beginning(BRIDGES)), Drop],
        vec![to_bridge(border), Opens, Drop],
    ];
    if border.egress == Egress::None {
        rules.push(vec![from_bridge(border), Drop]);
    }
    // A link that forwards for the apps' sake makes no router of the machine. Ports that others publish go on working.
    rules.extend(border.uplinks.iter().map(|uplink| {
        vec![
            Input(Compare::Is, Link::Named(uplink.clone())),
            Output(Compare::IsNot, Link::Beginning(BRIDGES)),
            Opens,
            NotTranslated,
            Drop,
        ]
    }));
    rules
}

fn masquerade(border: &Border) -> Vec<Vec<Expression>> {
    vec![vec![
        Expression::Source(Compare::Is, border.subnet),
        Expression::Output(Compare::IsNot, Link::Beginning(BRIDGES)),
        Expression::Masquerade,
    ]]
}

fn bridge(border: &Border) -> Link {
    Link::Named(border.bridge.into())
}

fn from_bridge(border: &Border) -> Expression {
    Expression::Input(Compare::Is, bridge(border))
}

fn to_bridge(border: &Border) -> Expression {
    Expression::Output(Compare::Is, bridge(border))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_again_in_the_comment() {
        let links = ["eth0".to_string(), "wlan0".to_string()];
        assert_eq!(uplinks_in(&comment(&links)).collect::<Vec<_>>(), links);
        for (reason, text) in [("none", comment(&[])), ("somebody else's", "eth0".to_string())] {
            assert_eq!(uplinks_in(&text).count(), 0, "{reason}");
        }
    }
}
