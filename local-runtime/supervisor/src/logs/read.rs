//! Lines of one workload, of all its containers in the order of their times, once or as they come.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{numbered, parse_file_name, parse_line};
use crate::protocol::{LogLine, LogsRequest};
use crate::spec::LogSpec;

/// From the end of a log, so much is read to find its last lines.
const TAIL_BYTES: u64 = 16 << 10;

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
    let lines = bytes.split(|b| *b == b'\n').filter_map(|l| parse_line(l, 0, ""));
    Ok(lines.map(|line| line.text).collect())
}

/// A place in the logs of one workload. Asked again later, it goes on where it was.
pub struct LogReader {
    folder: PathBuf,
    request: LogsRequest,
    sources: BTreeMap<(u64, String), Source>,
}

struct Source {
    path: PathBuf,
    file: Option<BufReader<File>>,
    inode: u64,
    /// Nobody writes to the file any more: what is read now is the rest of it.
    is_old: bool,
    partial: Vec<u8>,
    next: Option<LogLine>,
}

impl LogReader {
    pub fn new(folder: PathBuf, request: LogsRequest) -> LogReader {
        LogReader {
            folder,
            request,
            sources: BTreeMap::new(),
        }
    }

    /// Everything so far, or its last lines where the request says so.
    pub fn first(&mut self) -> Vec<LogLine> {
        let Some(tail) = self.request.tail else {
            return self.more();
        };
        let mut last = VecDeque::new();
        self.read(usize::MAX, |line| {
            last.push_back(line);
            if last.len() > tail {
                last.pop_front();
            }
        });
        last.into()
    }

    /// What has come since the last call, at most some hundred lines; empty when there is no more now.
    pub fn more(&mut self) -> Vec<LogLine> {
        let mut lines = vec![];
        self.read(500, |line| lines.push(line));
        lines
    }

    fn read(&mut self, most: usize, mut take: impl FnMut(LogLine)) {
        self.find_sources();
        let since = self.request.since_unix_ms.unwrap_or(0);
        let mut taken = 0;
        while taken < most
            && let Some(line) = self.earliest()
        {
            if line.time_unix_ms >= since {
                take(line);
                taken += 1;
            }
        }
    }

    fn earliest(&mut self) -> Option<LogLine> {
        for ((pod, container), source) in &mut self.sources {
            source.fill(*pod, container);
        }
        let waiting = self.sources.values_mut().filter(|s| s.next.is_some());
        waiting
            .min_by_key(|s| s.next.as_ref().map(|l| l.time_unix_ms))?
            .next
            .take()
    }

    fn find_sources(&mut self) {
        let names = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .filter_map(|e| e.ok()?.file_name().into_string().ok());
        for name in names {
            let Some((pod, container)) = parse_file_name(&name) else {
                continue;
            };
            let wanted = self.request.replica.is_none_or(|wanted| wanted == pod)
                && self
                    .request
                    .container
                    .as_deref()
                    .is_none_or(|wanted| wanted == container);
            if wanted {
                let path = self.folder.join(format!("{pod}.{container}.log"));
                self.sources
                    .entry((pod, container.into()))
                    .or_insert_with(|| Source::new(path));
            }
        }
    }
}

impl Source {
    fn new(path: PathBuf) -> Source {
        Source {
            path,
            file: None,
            inode: 0,
            is_old: false,
            partial: vec![],
            next: None,
        }
    }

    /// Reads the next line, from the oldest file to the one that is written.
    fn fill(&mut self, pod: u64, container: &str) {
        while self.next.is_none() && self.read_on(pod, container) {}
    }

    /// False if there is no more now.
    fn read_on(&mut self, pod: u64, container: &str) -> bool {
        let Some(file) = &mut self.file else {
            return self.open_next();
        };
        // A read error ends this file as its end does; the next call tries the path again.
        let read = file.read_until(b'\n', &mut self.partial).unwrap_or(0);
        if self.partial.last() == Some(&b'\n') {
            self.partial.pop();
            self.next = parse_line(&std::mem::take(&mut self.partial), pod, container);
        } else if read == 0 && self.is_old {
            return self.open_next();
        } else if read == 0 {
            // Between its end and here lines may have come, and then another file in its place.
            self.is_old = !self.is_written();
            return self.is_old;
        }
        true
    }

    fn is_written(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode)
    }

    /// The file after this one, or the oldest if this one is gone or there was none yet.
    fn open_next(&mut self) -> bool {
        let mut next = None;
        for number in 0..LogSpec::MOST_FILES {
            let Ok(file) = File::open(numbered(&self.path, number)) else {
                continue;
            };
            let inode = file.metadata().map_or(0, |metadata| metadata.ino());
            if inode == self.inode {
                break;
            }
            next = Some((file, inode));
        }
        let Some((file, inode)) = next else { return false };
        (self.file, self.inode, self.is_old) = (Some(BufReader::new(file)), inode, false);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Kind;

    fn request(tail: Option<usize>, since: Option<u64>) -> LogsRequest {
        let name = "web".into();
        LogsRequest {
            kind: Kind::Service,
            name,
            replica: None,
            container: None,
            follow: false,
            since_unix_ms: since,
            tail,
        }
    }

    fn texts(lines: Vec<LogLine>) -> Vec<String> {
        lines.into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn containers_are_merged_by_time_and_followed_over_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("1.main.log.1", "10 o a\n30 o c\n");
        write("1.main.log", "50 o e\n");
        write("2.main.log", "20 e b\n40 o d\n");
        let mut reader = LogReader::new(folder.path().into(), request(None, None));
        assert_eq!(texts(reader.first()), ["a", "b", "c", "d", "e"]);
        assert!(reader.more().is_empty(), "there is no more");
        fs::rename(folder.path().join("1.main.log"), folder.path().join("1.main.log.1")).unwrap();
        write("1.main.log", "60 o f\n");
        write("3.main.log", "70 o g\n");
        assert_eq!(
            texts(reader.more()),
            ["f", "g"],
            "neither a rotation nor a new container is missed"
        );
    }

    #[test]
    fn every_file_is_read_from_the_oldest_on_while_they_move() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("1.main.log");
        let write = |number: u32, text: &str| fs::write(numbered(&log, number), text).unwrap();
        write(2, "1 o a\n");
        write(1, "2 o b\n");
        write(0, "3 o c\n");
        let mut reader = LogReader::new(folder.path().into(), request(None, None));
        assert_eq!(texts(reader.first()), ["a", "b", "c"]);
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
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1.main.log"), "10 o a\n20 o b\n30 o c\n").unwrap();
        assert_eq!(
            texts(LogReader::new(folder.path().into(), request(Some(2), None)).first()),
            ["b", "c"]
        );
        assert_eq!(
            texts(LogReader::new(folder.path().into(), request(None, Some(30))).first()),
            ["c"]
        );
    }
}
