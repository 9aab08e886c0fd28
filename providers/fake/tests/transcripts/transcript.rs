//! A transcript: JSON lines, of which the first says what was asked and how, and each other one is a request with its
//! answer, both in the counterpart's own words.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug)]
pub struct Transcript {
    pub file: String,
    pub header: Header,
    pub exchanges: Vec<Exchange>,
}

/// The first line.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Who answered, with its version; or that nobody did, and the answers are those that pages describe.
    pub counterpart: String,
    /// Where the counterpart can be had, or the pages.
    pub source: String,
    /// The program that makes the file anew, or `hand`.
    pub made_by: String,
    /// How late lists and descriptions were, at most, in milliseconds; nothing where the counterpart is never late.
    #[serde(default)]
    pub list_lags: u64,
    #[serde(default)]
    pub description_lags: u64,
}

/// Any other line.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exchange {
    /// Milliseconds since the beginning.
    pub at: u64,
    /// What the line shows.
    pub step: String,
    /// The operation, as the vocabulary lists it.
    pub ask: String,
    pub request: Value,
    /// Of HTTP.
    pub status: u16,
    pub answer: Value,
    /// For a write: what it begins fails this much later, for a reason that no request tells.
    #[serde(default)]
    pub fails_after: Option<u64>,
    /// The page that describes the answer, where nobody gave it.
    #[serde(default)]
    pub source: Option<String>,
    /// Why the counterpart is wrong here, by the platform's own pages: the platform in memory then has to disagree.
    #[serde(default)]
    pub deviates: Option<String>,
}

impl Transcript {
    /// All of a folder.
    pub fn load_all(folder: &Path) -> Vec<Self> {
        let entries = std::fs::read_dir(folder).expect("a folder of transcripts");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }

    fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a transcript");
        let mut lines = text.lines().enumerate();
        let (_, header) = lines.next().expect("a transcript has a header");
        let read = |(number, line): (usize, &str)| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{}:{}: {error}", path.display(), number + 1))
        };
        Self {
            file: path.file_name().expect("a file").to_string_lossy().into_owned(),
            header: serde_json::from_str(header).unwrap_or_else(|error| panic!("{}:1: {error}", path.display())),
            exchanges: lines.map(read).collect(),
        }
    }
}

impl Exchange {
    pub fn is_refused(&self) -> bool {
        self.status >= 400
    }

    /// Makes it say something else, to see that this is found out.
    pub fn lie(&mut self, pointer: &str, lie: Value) {
        match pointer.strip_prefix("/answer") {
            None => self.status = serde_json::from_value(lie).expect("a status"),
            Some(pointer) => {
                let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
                let parent = self.answer.pointer_mut(parent).expect("the answer says that");
                parent[key] = lie;
            }
        }
    }
}
