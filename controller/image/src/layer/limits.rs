//! Limits on what an archive may cost, and the reader that enforces them while it also takes the layer's diff id.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;
use std::time::{Duration, Instant};

use portolan_core::reference::Algorithm;

use super::Fault;
use crate::store::{Content, Hasher};

/// The most that one archive may cost. The default is far above what images of the field need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub entries: u64,
    /// Bytes of the archive once decompressed, headers included.
    pub bytes: u64,
    /// Decompressed bytes for each compressed one; counted only past `ratio_from` decompressed bytes, because a small
    /// archive of zeros is harmless and usual.
    pub ratio: u64,
    pub ratio_from: u64,
    /// Bytes of one path.
    pub path: usize,
    /// Bytes of all paths together: what the unpacking remembers is bounded by it.
    pub names: u64,
    /// Bytes of one extended header.
    pub extended: u64,
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 64 << 30,
            ratio: 200,
            ratio_from: 1 << 30,
            path: 4095,
            names: 128 << 20,
            extended: 1 << 20,
            time: Duration::from_secs(30 * 60),
        }
    }
}

/// Counts the bytes that a decoder takes in.
pub(super) struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

/// Hashes and counts what a decoder gives out, and fails the read that passes a limit.
pub(super) struct Metered<R> {
    inner: R,
    packed: Rc<Cell<u64>>,
    hasher: Hasher,
    limits: Limits,
    begun: Instant,
}

impl<R: Read> Counted<R> {
    pub(super) fn new(inner: R) -> (Self, Rc<Cell<u64>>) {
        let count = Rc::new(Cell::new(0));
        (
            Self {
                inner,
                count: Rc::clone(&count),
            },
            count,
        )
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count.set(self.count.get() + length as u64);
        Ok(length)
    }
}

impl<R: Read> Metered<R> {
    pub(super) fn new(inner: R, packed: Rc<Cell<u64>>, limits: Limits) -> Self {
        Self {
            inner,
            packed,
            hasher: Hasher::new(Algorithm::Sha256),
            limits,
            begun: Instant::now(),
        }
    }

    /// Digest and size of all that was read.
    pub(super) fn finish(self) -> Content {
        self.hasher.finish()
    }

    fn check(&self) -> Result<(), Fault> {
        let bytes = self.hasher.size();
        if bytes > self.limits.bytes {
            return Err(Fault::Bytes(self.limits.bytes));
        }
        if bytes > self.limits.ratio_from && bytes / self.packed.get().max(1) > self.limits.ratio {
            return Err(Fault::Ratio(self.limits.ratio));
        }
        if self.begun.elapsed() > self.limits.time {
            return Err(Fault::Time(self.limits.time));
        }
        Ok(())
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        self.check()?;
        Ok(length)
    }
}
