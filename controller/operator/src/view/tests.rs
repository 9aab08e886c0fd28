//! What is known of an installation, look by look.

use k8s_openapi::api::coordination::v1::LeaseSpec;

use super::*;

const NAME: &str = "portolan-controller";

/// Seconds since the first look, and each Lease then: its name, holder, version and what it says.
type Look<'a> = (u64, Vec<(&'a str, &'a str, u32, i32)>);

fn leases(all: &[(&str, &str, u32, i32)]) -> BTreeMap<String, KubeLease> {
    let made = all.iter().map(|(name, holder, version, seconds)| {
        let mut lease = KubeLease::default();
        lease.metadata.resource_version = Some(version.to_string());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some((*holder).to_string()),
            lease_duration_seconds: Some(*seconds),
            ..LeaseSpec::default()
        });
        ((*name).to_string(), lease)
    });
    made.collect()
}

fn seen(count: u32, looks: &[Look]) -> View {
    let (mut view, start) = (View::new(NAME, "me", count), Instant::now());
    for (after, all) in looks {
        view.take(leases(all), start + Duration::from_secs(*after));
    }
    view
}

#[test]
fn a_shard_of_another_count_counts_until_it_was_seen_unchanged_for_long_enough() {
    let theirs = |version| ("portolan-controller-1-of-3", "other", version, 15);
    let one = |version| ("portolan-controller", "other", version, 15);
    let cases: &[(&str, u32, Vec<Look>, usize)] = &[
        ("there is none", 2, vec![(0, vec![])], 0),
        ("none of its own count", 3, vec![(0, vec![theirs(1)])], 0),
        ("one was seen just now", 2, vec![(0, vec![theirs(1)])], 1),
        (
            "one is renewed",
            2,
            vec![(0, vec![theirs(1)]), (16, vec![theirs(2)])],
            1,
        ),
        (
            "one has passed",
            2,
            vec![(0, vec![theirs(1)]), (15, vec![theirs(1)])],
            0,
        ),
        (
            "one was deleted under its holder",
            2,
            vec![(0, vec![theirs(1)]), (14, vec![])],
            1,
        ),
        (
            "who knows it after a while",
            2,
            vec![(0, vec![theirs(1)]), (14, vec![]), (29, vec![])],
            0,
        ),
        (
            "one was deleted after it had passed",
            2,
            vec![(0, vec![theirs(1)]), (15, vec![theirs(1)]), (16, vec![])],
            0,
        ),
        ("the only one of a single count", 2, vec![(0, vec![one(1)])], 1),
        (
            "its own of before",
            2,
            vec![(0, vec![("portolan-controller-0-of-3", "me", 1, 15)])],
            0,
        ),
    ];
    for (reason, count, looks, expected) in cases {
        let view = seen(*count, looks);
        let taken = view
            .of_another_count()
            .filter(|(_, _, seen)| seen.standing == Standing::Taken);
        assert_eq!(taken.count(), *expected, "{reason}");
    }
}

#[test]
fn a_member_is_there_while_its_lease_is_seen_to_change() {
    let member = |name, version| (name, "other", version, 15);
    let (ours, theirs) = ("portolan-controller-member-of-2-a", "portolan-controller-member-of-3-a");
    let names = |view: View| view.members().into_iter().collect::<Vec<_>>();
    assert_eq!(names(seen(2, &[(0, vec![member(ours, 1)])])), ["me", "other"]);
    assert_eq!(
        names(seen(2, &[(0, vec![member(ours, 1)]), (14, vec![])])),
        ["me"],
        "it said so"
    );
    let renewed = seen(
        2,
        &[
            (0, vec![member(ours, 1)]),
            (14, vec![member(ours, 2)]),
            (28, vec![member(ours, 2)]),
        ],
    );
    assert_eq!(names(renewed), ["me", "other"]);
    let gone = seen(2, &[(0, vec![member(ours, 1)]), (15, vec![member(ours, 1)])]);
    assert_eq!(gone.forgotten().count(), 0);
    assert_eq!(names(gone), ["me"]);
    assert_eq!(
        names(seen(2, &[(0, vec![member(theirs, 1)])])),
        ["me"],
        "of another count"
    );
    for name in [ours, theirs] {
        let long_gone = seen(2, &[(0, vec![member(name, 1)]), (600, vec![member(name, 1)])]);
        assert_eq!(long_gone.forgotten().count(), 1, "{name}");
    }
}

#[test]
fn a_shard_is_free_once_nobody_can_live_by_it_and_left_once_nobody_has_come() {
    let shard = Shard { index: 0, count: 2 };
    let name = shard.lease(NAME);
    let of = |holder, looks: &[u64]| {
        let lease = [(name.as_str(), holder, 1, 15)];
        let looks: Vec<Look> = looks.iter().map(|after| (*after, lease.to_vec())).collect();
        seen(2, &looks).holding(shard)
    };
    assert_eq!(of("other", &[0]), Holding::Others("other".into()));
    assert_eq!(of("other", &[0, 15]), Holding::Free { is_left: false });
    assert_eq!(of("other", &[0, 30]), Holding::Free { is_left: true });
    assert_eq!(
        of("me", &[0]),
        Holding::Free { is_left: false },
        "this side's own of before"
    );
    assert_eq!(
        of("me", &[0, 30]),
        Holding::Free { is_left: true },
        "which nobody wants"
    );
    let absent = |looks: &[Look]| seen(2, looks).holding(shard);
    assert_eq!(absent(&[(0, vec![])]), Holding::Others(String::new()));
    assert_eq!(absent(&[(0, vec![]), (15, vec![])]), Holding::Free { is_left: false });
}
