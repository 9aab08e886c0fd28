//! A strict reader and a reproducible writer of tar archives: ustar with PAX (POSIX.1-2001) and GNU long names.
//!
//! The reader hands out [`Entry`]s whose names are already checked and normalised. Where two parts of an archive could
//! be read differently by another program (a size given twice, a name given twice, bytes after the end, content on an
//! entry that has none), it refuses the archive instead of choosing.

mod header;
mod name;
mod pax;
mod reader;
mod writer;

pub use reader::TarReader;
pub use writer::TarWriter;

/// One member of an archive, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative, without `.`, `..` or empty components; empty is the root itself.
    pub path: Vec<u8>,
    pub kind: Kind,
    pub meta: Meta,
    /// Bytes of content that follow; zero but for files.
    pub size: u64,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    /// The target as it is written: it may point anywhere and is never followed.
    Symlink(Vec<u8>),
    /// The path of an earlier member, normalised as a path.
    HardLink(Vec<u8>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// What all kinds of members have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// The twelve permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    /// Extended attributes in the order of the archive.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Seconds since the epoch, with nanoseconds upwards from there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

const BLOCK: usize = 512;
