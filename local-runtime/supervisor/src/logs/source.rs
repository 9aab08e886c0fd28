//! One log, read from a place on: over its files, from the oldest to the one that is written.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::file::first_time;
use super::{Line, Written, numbered, parse_line};
use crate::protocol::Place;
use crate::spec::LogSpec;

pub struct Source {
    path: PathBuf,
    written: Written,
    file: Option<Open>,
    /// Read ahead, with the offset behind it.
    next: Option<(Line, u64)>,
    /// Behind the last line that was taken.
    place: Place,
}

struct Open {
    reader: BufReader<File>,
    inode: u64,
    begun_unix_ms: u64,
    /// So far it is read,
    offset: u64,
    /// and so far it may be, as far as that was asked.
    tellable: u64,
    /// Nobody writes to the file any more: what is read now is the rest of it.
    is_old: bool,
    partial: Vec<u8>,
}

impl Source {
    pub fn new(path: PathBuf, written: Written) -> Source {
        Source {
            path,
            written,
            file: None,
            next: None,
            place: Place::default(),
        }
    }

    pub fn place(&self) -> Place {
        self.place
    }

    pub fn go_to(&mut self, place: Place) {
        (self.file, self.next, self.place) = (self.open_at(place), None, place);
    }

    /// When the next line was written, if there is one now.
    pub fn next_time(&mut self) -> Option<u64> {
        while self.next.is_none() && self.read_on() {}
        self.next.as_ref().map(|(line, _)| line.time_unix_ms)
    }

    /// The line that [`Source::next_time`] has found.
    pub fn take(&mut self) -> Option<Line> {
        let (line, offset) = self.next.take()?;
        let file = self.file.as_mut()?;
        if file.begun_unix_ms == 0 {
            // It was empty when it was opened.
            file.begun_unix_ms = line.time_unix_ms;
        }
        self.place = Place {
            file: file.inode,
            begun_unix_ms: file.begun_unix_ms,
            offset,
        };
        Some(line)
    }

    /// False if there is no more now.
    fn read_on(&mut self) -> bool {
        let Some(file) = &mut self.file else {
            return self.open_next();
        };
        if file.offset >= file.tellable {
            // An error ends this file as its end does; the next call asks again.
            let tellable = self.written.tellable(&self.path, file.reader.get_ref());
            file.tellable = tellable.unwrap_or(file.offset);
        }
        if file.read().unwrap_or(0) > 0 {
            self.next = file.whole_line();
            return true;
        }
        if file.is_old {
            return self.open_next();
        }
        // Between its end and here lines may have come, and then another file in its place.
        file.is_old = !fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == file.inode);
        file.is_old
    }

    /// The file after this one, or the oldest if this one is gone or there was none yet.
    fn open_next(&mut self) -> bool {
        let current = self.file.as_ref().map_or(0, |file| file.inode);
        let mut next = None;
        for number in 0..LogSpec::MOST_FILES {
            let Ok(file) = File::open(numbered(&self.path, number)) else {
                continue;
            };
            let inode = file.metadata().map_or(0, |metadata| metadata.ino());
            if inode == current {
                break;
            }
            next = Some(file);
        }
        let Some(next) = next.and_then(|file| Open::at(file, 0).ok()) else {
            return false;
        };
        self.file = Some(next);
        true
    }

    /// None if that file is gone: what is left came after it.
    fn open_at(&self, place: Place) -> Option<Open> {
        let files = (0..LogSpec::MOST_FILES).filter_map(|number| File::open(numbered(&self.path, number)).ok());
        let mut files = files.filter_map(|file| Open::at(file, place.offset).ok());
        files.find(|open| open.inode == place.file && open.begun_unix_ms == place.begun_unix_ms)
    }
}

impl Open {
    fn at(mut file: File, offset: u64) -> io::Result<Open> {
        file.seek(SeekFrom::Start(offset))?;
        Ok(Open {
            inode: file.metadata()?.ino(),
            begun_unix_ms: first_time(&file).unwrap_or(0),
            reader: BufReader::new(file),
            offset,
            tellable: offset,
            is_old: false,
            partial: vec![],
        })
    }

    /// As much of a line as there is; 0 at the end of what may be told.
    fn read(&mut self) -> io::Result<u64> {
        let most = self.tellable.saturating_sub(self.offset);
        let read = (&mut self.reader).take(most).read_until(b'\n', &mut self.partial)?;
        self.offset += read as u64;
        Ok(read as u64)
    }

    fn whole_line(&mut self) -> Option<(Line, u64)> {
        if self.partial.last() != Some(&b'\n') {
            return None;
        }
        self.partial.pop();
        let line = parse_line(&std::mem::take(&mut self.partial))?;
        Some((line, self.offset))
    }
}
