//! One decision by a table; and several members that decide by themselves, all by the same look at how it stands.

use super::*;

fn members(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_string()).collect()
}

#[test]
fn one_decision() {
    use Holding::{Leaving, Mine};
    let of = |name: &str| Holding::Others(name.into());
    let (free, left) = (Holding::Free { is_left: false }, Holding::Free { is_left: true });
    for (reason, others, shards, expected) in [
        ("alone it takes all", vec![], vec![free.clone()], Move::Bid(0)),
        (
            "one after another",
            vec![],
            vec![Mine, free.clone(), free.clone()],
            Move::Bid(1),
        ),
        (
            "whoever holds least is first",
            vec!["a"],
            vec![Mine, free.clone()],
            Move::Rest,
        ),
        (
            "and of two who hold the same the first by name",
            vec!["a"],
            vec![free.clone()],
            Move::Rest,
        ),
        (
            "who leaves it the next",
            vec!["a"],
            vec![free.clone(), free.clone()],
            Move::Bid(1),
        ),
        (
            "what nobody has taken for long is anybody's",
            vec!["a"],
            vec![left],
            Move::Bid(0),
        ),
        (
            "two more than another are one too many",
            vec!["a"],
            vec![Mine, of("a"), Mine, Mine],
            Move::Release(3),
        ),
        ("one more is none", vec!["a"], vec![Mine, of("a"), Mine], Move::Rest),
        (
            "what is about to go counts as gone",
            vec!["a"],
            vec![Mine, Mine, Leaving],
            Move::Rest,
        ),
        (
            "of two who hold too many the first by name lets go",
            vec!["a", "z"],
            vec![Mine, Mine, of("a"), of("a")],
            Move::Rest,
        ),
        (
            "which is this side",
            vec!["n", "z"],
            vec![Mine, Mine, of("n"), of("n")],
            Move::Release(1),
        ),
        (
            "what somebody holds who is not there counts for nobody",
            vec!["a"],
            vec![Mine, of("gone"), of("a")],
            Move::Rest,
        ),
    ] {
        assert_eq!(decide("me", &members(&others), &shards), expected, "{reason}");
    }
}

/// Shards by their holders.
#[derive(Clone)]
struct World {
    members: BTreeSet<String>,
    shards: Vec<Option<String>>,
}

impl World {
    fn seen_by(&self, me: &str) -> Vec<Holding> {
        let seen = |holder: &Option<String>| match holder {
            None => Holding::Free { is_left: false },
            Some(holder) if holder == me => Holding::Mine,
            Some(holder) => Holding::Others(holder.clone()),
        };
        self.shards.iter().map(seen).collect()
    }

    /// All decide by the same look, and what they do comes together; answers how many let one go, none once all rest.
    fn round(&mut self) -> Option<usize> {
        let before = self.clone();
        let (mut released, mut rests) = (0, true);
        for me in &before.members {
            match decide(me, &before.members, &before.seen_by(me)) {
                Move::Bid(index) => {
                    assert_eq!(self.shards[index], None, "two ask for one");
                    self.shards[index] = Some(me.clone());
                    rests = false;
                }
                Move::Release(index) => {
                    self.shards[index] = None;
                    released += 1;
                    rests = false;
                }
                Move::Rest => {}
            }
        }
        (!rests).then_some(released)
    }

    /// Answers how many were let go until all rest.
    fn settle(&mut self) -> usize {
        let mut released = 0;
        for _ in 0..100 {
            match self.round() {
                Some(more) => released += more,
                None => return released,
            }
        }
        panic!("they never rest: {:?}", self.shards);
    }

    fn loads(&self) -> Vec<usize> {
        let of = |member: &String| {
            self.shards
                .iter()
                .filter(|holder| holder.as_ref() == Some(member))
                .count()
        };
        self.members.iter().map(of).collect()
    }

    fn is_balanced(&self) {
        let loads = self.loads();
        let (most, least) = (loads.iter().max().unwrap(), loads.iter().min().unwrap());
        assert!(most - least <= 1, "{loads:?}");
        assert!(self.shards.iter().all(Option::is_some), "{:?}", self.shards);
    }

    fn leaves(&mut self, member: &str) {
        self.members.remove(member);
        let its = self
            .shards
            .iter_mut()
            .filter(|holder| holder.as_deref() == Some(member));
        its.for_each(|holder| *holder = None);
    }
}

#[test]
fn members_who_come_and_go_are_balanced_by_as_few_moves_as_can_be() {
    for count in 1..=8 {
        let mut world = World {
            members: members(&["member-0"]),
            shards: vec![None; count],
        };
        assert_eq!(world.settle(), 0, "the first takes what is free");
        world.is_balanced();
        for number in 1..5 {
            world.members.insert(format!("member-{number}"));
            // Whoever comes is brought his share, and nothing else moves.
            assert_eq!(world.settle(), count / (number + 1), "{count} shards");
            world.is_balanced();
        }
        for number in [2, 0, 4, 1] {
            world.leaves(&format!("member-{number}"));
            assert_eq!(world.settle(), 0, "what one leaves goes to those who hold least");
            world.is_balanced();
        }
    }
}

#[test]
fn from_wherever_they_begin_they_end_balanced() {
    let mut seed = 7_u64;
    let mut below = |bound: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % bound
    };
    for _ in 0..2_000 {
        let names: Vec<String> = (0..=below(5)).map(|number| format!("member-{number}")).collect();
        let count = 1 + below(8);
        let shards = (0..count).map(|_| names.get(below(names.len() + 1)).cloned()).collect();
        let mut world = World {
            members: names.into_iter().collect(),
            shards,
        };
        let before = world.loads();
        let released = world.settle();
        world.is_balanced();
        let given: usize = before
            .iter()
            .zip(world.loads())
            .map(|(had, has)| had.saturating_sub(has))
            .sum();
        assert_eq!(released, given, "nobody lets go what he takes again: {before:?}");
    }
}
