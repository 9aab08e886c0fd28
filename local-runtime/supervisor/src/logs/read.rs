//! Lines of some workloads, of all their containers in the order of their times, once or as they come.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::Source;
use super::{Written, numbered, parse_file_name, parse_line};
use crate::protocol::{LogId, LogLine, LogPlace, LogsRequest, Place, Workload};

/// From the end of a log, so much is read to find its last lines.
const TAIL_BYTES: u64 = 16 << 10;
/// So much is handed out at once, and a line more.
const BATCH_BYTES: usize = 256 << 10;

/// The texts of the last lines; none if there is no log.
pub fn last_lines(log: &Path, count: usize) -> Vec<String> {
    let mut lines = tail(log).unwrap_or_default();
    if lines.len() < count {
        // The file may have been begun a moment ago.
        let before = tail(&numbered(log, 1)).unwrap_or_default();
        lines.splice(..0, before);
    }
    lines.split_off(lines.len().saturating_sub(count))
}

fn tail(path: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = vec![];
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let lines = bytes.split(|b| *b == b'\n').filter_map(parse_line);
    Ok(lines.map(|line| line.text).collect())
}

/// A place in the logs of some workloads. Asked again later, it goes on where it was.
pub struct LogReader {
    /// Where the logs of each workload are.
    folders: Vec<(Workload, PathBuf)>,
    request: LogsRequest,
    written: Written,
    sources: BTreeMap<Arc<LogId>, Source>,
}

impl LogReader {
    pub fn new(request: LogsRequest, written: Written, folder: impl Fn(&Workload) -> PathBuf) -> LogReader {
        let workloads = request.workloads.iter();
        LogReader {
            folders: workloads.map(|one| (one.clone(), folder(one))).collect(),
            request,
            written,
            sources: BTreeMap::new(),
        }
    }

    /// Goes to where telling begins, and says where that is in each log.
    pub fn begin(&mut self) -> Vec<LogPlace> {
        self.find_sources();
        let after = std::mem::take(&mut self.request.after);
        for LogPlace { log, place } in &after {
            if let Some(source) = self.sources.get_mut(log) {
                source.go_to(*place);
            }
        }
        if let (Some(tail), true) = (self.request.tail, after.is_empty()) {
            self.go_to_last(tail);
        }
        let place = |(log, source): (&Arc<LogId>, &Source)| LogPlace {
            log: LogId::clone(log),
            place: source.place(),
        };
        self.sources.iter().map(place).collect()
    }

    /// What has come since the last call, or a part of it; empty when there is no more now.
    pub fn more(&mut self) -> Vec<LogLine> {
        self.find_sources();
        let (mut lines, mut bytes) = (vec![], 0);
        while bytes < BATCH_BYTES
            && let Some((_, line)) = self.next()
        {
            bytes += line.text.len() + size_of::<LogLine>();
            lines.push(line);
        }
        lines
    }

    /// Whether anything is kept of any of the workloads.
    pub fn has_folders(&self) -> bool {
        self.folders.iter().any(|(_, folder)| folder.exists())
    }

    /// Before the last so many lines of those there are.
    fn go_to_last(&mut self, count: usize) {
        let mut last = VecDeque::new();
        while let Some((before, line)) = self.next() {
            last.push_back((line.log, before));
            if last.len() > count {
                last.pop_front();
            }
        }
        // Of one log the first of these places is the one that counts.
        for (log, before) in last.into_iter().rev() {
            if let Some(source) = self.sources.get_mut(&log) {
                source.go_to(before);
            }
        }
    }

    /// The earliest line that is asked for, and the place before it.
    fn next(&mut self) -> Option<(Place, LogLine)> {
        let since = self.request.since_unix_ms.unwrap_or(0);
        loop {
            let times = self.sources.iter_mut();
            let times = times.filter_map(|(log, source)| Some((source.next_time()?, log.clone())));
            let (time_unix_ms, log) = times.min_by_key(|(time, _)| *time)?;
            let source = self.sources.get_mut(&log)?;
            let before = source.place();
            let line = source.take()?;
            if time_unix_ms < since {
                continue;
            }
            let line = LogLine {
                log: LogId::clone(&log),
                place: source.place(),
                time_unix_ms,
                stream: line.stream,
                text: line.text,
            };
            return Some((before, line));
        }
    }

    fn find_sources(&mut self) {
        for (workload, folder) in &self.folders {
            let entries = fs::read_dir(folder).into_iter().flatten();
            for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
                let Some((replica, container)) = parse_file_name(&name) else {
                    continue;
                };
                if !self.request.wants(replica, container) {
                    continue;
                }
                let log = LogId {
                    kind: workload.kind,
                    workload: workload.name.clone(),
                    replica,
                    container: container.into(),
                };
                let path = folder.join(format!("{replica}.{container}.log"));
                let source = self.sources.entry(Arc::new(log));
                source.or_insert_with(|| Source::new(path, self.written.clone()));
            }
        }
    }
}

impl LogsRequest {
    fn wants(&self, replica: u64, container: &str) -> bool {
        let named = self.container.as_deref();
        self.replica.is_none_or(|wanted| wanted == replica) && named.is_none_or(|wanted| wanted == container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Kind;

    struct Logs {
        folder: tempfile::TempDir,
        written: Written,
    }

    impl Logs {
        fn new() -> Logs {
            let logs = Logs {
                folder: tempfile::tempdir().unwrap(),
                written: Written::default(),
            };
            for name in ["web", "db"] {
                fs::create_dir(logs.path(name)).unwrap();
            }
            logs
        }

        /// `web`, `web/1.main.log`.
        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        /// Each file becomes the older one before it.
        fn rotate(&self, name: &str) {
            for number in (0..9).rev() {
                let log = self.path(name);
                _ = fs::rename(numbered(&log, number), numbered(&log, number + 1));
            }
        }

        fn reader(&self, change: impl Fn(&mut LogsRequest)) -> LogReader {
            let service = |name: &str| Workload {
                kind: Kind::Service,
                name: name.into(),
            };
            let mut request = LogsRequest {
                workloads: vec![service("web"), service("db")],
                replica: None,
                container: None,
                follow: false,
                since_unix_ms: None,
                tail: None,
                after: vec![],
            };
            change(&mut request);
            LogReader::new(request, self.written.clone(), |workload| self.path(&workload.name))
        }

        /// Its texts from the beginning to now.
        fn read(&self, change: impl Fn(&mut LogsRequest)) -> Vec<String> {
            let mut reader = self.reader(change);
            reader.begin();
            texts(reader.more())
        }
    }

    fn texts(lines: Vec<LogLine>) -> Vec<String> {
        lines.into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn containers_are_merged_by_time_and_followed_over_a_rotation() {
        let logs = Logs::new();
        logs.write("web/1.main.log.1", "10 o a\n30 o c\n");
        logs.write("web/1.main.log", "50 o e\n");
        logs.write("db/2.main.log", "20 e b\n40 o d\n");
        let mut reader = logs.reader(|_| {});
        assert_eq!(texts(reader.more()), ["a", "b", "c", "d", "e"]);
        assert!(reader.more().is_empty(), "there is no more");
        logs.rotate("web/1.main.log");
        logs.write("web/1.main.log", "60 o f\n");
        logs.write("db/3.main.log", "70 o g\n");
        assert_eq!(
            texts(reader.more()),
            ["f", "g"],
            "neither a rotation nor a new container is missed"
        );
    }

    #[test]
    fn every_file_is_read_from_the_oldest_on_while_they_move() {
        let logs = Logs::new();
        let log = logs.path("web/1.main.log");
        let write = |number: u32, text: &str| fs::write(numbered(&log, number), text).unwrap();
        write(2, "1 o a\n");
        write(1, "2 o b\n");
        write(0, "3 o c\n");
        let mut reader = logs.reader(|_| {});
        assert_eq!(texts(reader.more()), ["a", "b", "c"]);
        // More was written to the file that was read to its end, then two others came.
        write(0, "3 o c\n4 o d\n");
        for number in [1, 0] {
            fs::rename(numbered(&log, number), numbered(&log, number + 1)).unwrap();
        }
        fs::rename(numbered(&log, 1), numbered(&log, 2)).unwrap();
        write(1, "5 o e\n");
        write(0, "6 o f\n");
        assert_eq!(texts(reader.more()), ["d", "e", "f"]);
        assert_eq!(last_lines(&log, 2), ["e", "f"], "over the end of a file");
        for number in 0..3 {
            fs::remove_file(numbered(&log, number)).unwrap();
        }
        assert!(reader.more().is_empty(), "all are too old");
        write(1, "7 o g\n");
        write(0, "8 o h\n");
        assert_eq!(
            texts(reader.more()),
            ["g", "h"],
            "what is left of those that came meanwhile"
        );
    }

    #[test]
    fn tail_and_since_narrow_it() {
        let logs = Logs::new();
        logs.write("web/1.main.log.1", "10 o a\n");
        logs.write("web/1.main.log", "20 o b\n30 o c\n");
        logs.write("db/2.main.log", "5 o before\n25 o between\n");
        let tail = |count| move |request: &mut LogsRequest| request.tail = Some(count);
        for (count, expected) in [(0, &[][..]), (1, &["c"]), (3, &["b", "between", "c"])] {
            assert_eq!(logs.read(tail(count)), expected, "the last {count} of all");
        }
        assert_eq!(logs.read(tail(9)).len(), 5);
        let since = |request: &mut LogsRequest| request.since_unix_ms = Some(25);
        assert_eq!(logs.read(since), ["between", "c"]);
        let both = |request: &mut LogsRequest| (request.since_unix_ms, request.tail) = (Some(25), Some(9));
        assert_eq!(logs.read(both), ["between", "c"]);
    }

    #[test]
    fn another_reader_goes_on_where_one_was_whatever_has_moved() {
        let logs = Logs::new();
        logs.write("web/1.main.log", "10 o a\n20 o b\n");
        logs.write("db/2.main.log", "5 o quiet since long\n");
        let mut first = logs.reader(|request| request.tail = Some(2));
        let mut places: BTreeMap<LogId, Place> = first.begin().into_iter().map(|at| (at.log, at.place)).collect();
        let told = first.more();
        assert_eq!(told.len(), 2);
        let after = |places: &BTreeMap<LogId, Place>| {
            let places = places.iter();
            let places = places.map(|(log, place)| LogPlace {
                log: log.clone(),
                place: *place,
            });
            places.collect::<Vec<_>>()
        };
        places.insert(told[0].log.clone(), told[0].place);
        let go_on = |places: &BTreeMap<LogId, Place>| {
            logs.read(|request| (request.tail, request.after) = (Some(2), after(places)))
        };
        assert_eq!(go_on(&places), ["b"], "the first line alone had arrived");

        places.insert(told[1].log.clone(), told[1].place);
        logs.rotate("web/1.main.log");
        logs.write("web/1.main.log", "30 o c\n");
        logs.write("web/3.main.log", "25 o another replica\n");
        assert_eq!(
            go_on(&places),
            ["another replica", "c"],
            "in the files as they are named now"
        );

        logs.write("web/1.main.log.1", "15 o the same inode, and another file\n");
        assert_eq!(
            go_on(&places),
            ["the same inode, and another file", "another replica", "c"],
            "its own file is gone"
        );
    }

    #[test]
    fn what_a_kill_may_take_back_is_not_told() {
        let logs = Logs::new();
        logs.write("web/1.main.log", "10 o settled\n20 o not yet\n");
        let log = logs.path("web/1.main.log");
        let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&log).unwrap());
        logs.written.settle(&log, inode, 13);
        let mut reader = logs.reader(|_| {});
        assert_eq!(texts(reader.more()), ["settled"]);
        logs.written.settle(&log, inode, 24);
        assert!(reader.more().is_empty(), "half a line");
        logs.written.settle(&log, inode, 26);
        assert_eq!(texts(reader.more()), ["not yet"]);
        logs.written.settle(&log, inode + 1, 0);
        logs.write("web/1.main.log", "10 o settled\n20 o not yet\n30 o by nobody\n");
        assert_eq!(
            texts(reader.more()),
            ["by nobody"],
            "another file is the one that is written"
        );
    }
}
