//! Whose the Lease is, by what was seen of it; and what is done about it, and in which order.

use std::sync::{Arc, Mutex};

use kube::{Client, Config};
use serde_json::Value;

use super::*;
use crate::answering::answering;

fn lease(holder: &str, version: &str, seconds: i32) -> KubeLease {
    let mut lease = KubeLease::default();
    lease.metadata.resource_version = Some(version.into());
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(holder.into()),
        lease_duration_seconds: Some(seconds),
        ..LeaseSpec::default()
    });
    lease
}

fn election(config: Config) -> Election {
    let side = Side {
        api: Api::namespaced(Client::try_from(config).unwrap(), "here"),
        identity: "me".into(),
        installation: "cluster",
    };
    Election::new(side, "lease".into())
}

#[test]
fn a_lease_is_free_once_it_was_seen_unchanged_for_as_long_as_its_holder_may_believe() {
    use Standing::{Free, Ours, Taken};
    let theirs = |version| Some(lease("other", version, 15));
    for (reason, looks) in [
        (
            "its own is resumed at once",
            vec![(0, Some(lease("me", "1", 15)), Ours)],
        ),
        (
            "another's after what it says",
            vec![
                (0, theirs("1"), Taken),
                (14, theirs("1"), Taken),
                (15, theirs("1"), Free),
            ],
        ),
        (
            "which begins anew with each renewal",
            vec![
                (0, theirs("1"), Taken),
                (14, theirs("2"), Taken),
                (28, theirs("2"), Taken),
                (29, theirs("2"), Free),
            ],
        ),
        (
            "one that was released soon",
            vec![
                (0, Some(lease("other", "1", 1)), Taken),
                (1, Some(lease("other", "1", 1)), Free),
            ],
        ),
        (
            "one that is gone may be believed in yet",
            vec![(0, None, Taken), (14, None, Taken), (15, None, Free)],
        ),
        (
            "since it was first seen gone",
            vec![
                (0, theirs("1"), Taken),
                (14, None, Taken),
                (28, None, Taken),
                (29, None, Free),
            ],
        ),
        (
            "and so may one that was emptied, whatever it says",
            vec![
                (0, Some(lease("", "1", 0)), Taken),
                (14, Some(lease("", "1", 0)), Taken),
                (15, Some(lease("", "1", 0)), Free),
            ],
        ),
    ] {
        let (mut watch, start) = (Watch::default(), Instant::now());
        for (after, now, expected) in looks {
            let at = start + Duration::from_secs(after);
            assert_eq!(watch.standing(now.as_ref(), "me", at), expected, "{reason}, {after} s");
        }
    }
}

/// What is done while the Lease is `holder`'s, and has passed: requests, and that the journal is forgotten.
async fn steps(holder: &str) -> Vec<String> {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let steps = steps.clone();
        move |step: &str| steps.lock().unwrap().push(step.to_string())
    };
    let requests = note.clone();
    let config = answering(move |method: &str, body: &Value| {
        requests(method);
        Some((200, body.clone()))
    });
    let election = election(config.await);
    let forget = || {
        note("forget");
        Ok(())
    };
    let seen = lease(holder, "1", 0);
    let standing = Watch::default().standing(Some(&seen), "me", Instant::now());
    election.bid(Some(&seen), standing, forget).await.unwrap().unwrap();
    let steps = steps.lock().unwrap();
    steps.clone()
}

#[tokio::test]
async fn the_journal_is_forgotten_before_a_lease_is_taken_that_was_anothers() {
    assert_eq!(steps("other").await, ["forget", "put"]);
    assert_eq!(steps("me").await, ["put"]);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_nobody_answers_ends_the_term_before_anybody_else_has_it() {
    let election = election(answering(|_, _| None).await);
    let began = Instant::now();
    let term = Term {
        lease: Lease::until(began + TRUSTED),
        held: lease("me", "1", 15),
    };
    let ended = election.kept(term).await;
    assert!(matches!(ended, OperatorError::LeaseLost { .. }), "{ended}");
    assert!(began.elapsed() <= DURATION, "{:?}", began.elapsed());
}
