//! What holds for the journal whatever is written to it: it does not grow with the past.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::name::OwnerId;
use portolan_engine::journal::{
    AppKey, GENERATIONS_KEPT, Generation, GenerationKind, Journal, JournalEntry, SqliteJournal,
};
use portolan_engine::machine::Timestamp;

/// What is wrong after many generations, if anything is.
pub fn grows_without_end() -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    let key = AppKey {
        namespace: "default".into(),
        app: "shop".into(),
        target: "local".into(),
    };
    for number in 1..=3 * GENERATIONS_KEPT {
        let entries = [begun(number), JournalEntry::Converged];
        journal.append(&key, &entries).unwrap();
    }
    let kept = journal.generations(&key).unwrap().len() as u64;
    (kept > GENERATIONS_KEPT).then(|| "generations kept".to_string())
}

fn begun(number: u64) -> JournalEntry {
    JournalEntry::Begun {
        owner: OwnerId::from_tag("owner"),
        generation: Arc::new(Generation {
            number,
            kind: GenerationKind::Apply,
            hash: number.to_string(),
            begun: Timestamp::default(),
            resources: Arc::default(),
            images: BTreeMap::new(),
            patience: Duration::from_secs(1),
            intent: None,
            drift: BTreeMap::new(),
        }),
    }
}
