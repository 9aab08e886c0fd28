//! Why a layer's archive is rejected: one variant for each thing that no layer may hold.

use std::io;
use std::time::Duration;

/// What is wrong with an archive, or with one entry of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    #[error("the archive ends in the middle")]
    Truncated,
    #[error("the archive cannot be read or decompressed")]
    Unreadable(#[source] io::Error),
    #[error("the header's checksum is wrong")]
    Checksum,
    #[error("the header's field {0} is no number")]
    Number(&'static str),
    #[error("the field {field} has the value {value}, out of range")]
    Range { field: &'static str, value: i128 },
    #[error("the type {:?} is unknown", char::from(*.0))]
    Type(u8),
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    #[error("the extended header is malformed: {0}")]
    Extended(&'static str),
    #[error("the sizes {header} in the header and {extended} in the extended header disagree")]
    Sizes { header: u64, extended: u64 },
    #[error("an entry without content has a size of {0} bytes")]
    Content(u64),
    #[error("two different names or targets are given")]
    Ambiguous,
    #[error("there are bytes after the end of the archive")]
    Trailing,
    #[error("the name is empty")]
    NameEmpty,
    #[error("the name contains a NUL byte")]
    NameNul,
    #[error("the name is absolute")]
    NameAbsolute,
    #[error("the name leads upwards with ..")]
    NameUpwards,
    #[error("the name, or a part of it, is longer than {0} bytes")]
    NameLong(usize),
    #[error("the link's target is empty, too long or contains a NUL byte")]
    LinkTarget,
    #[error("the way to it leads through a symbolic link")]
    ThroughSymlink,
    #[error("the way to it leads through something that is no directory")]
    ThroughFile,
    #[error("the way to it leads out of the layer")]
    Outside,
    #[error("the hard link's target is not in this layer")]
    LinkMissing,
    #[error("the hard link's target is a directory or a whiteout")]
    LinkKind,
    #[error("the root of the layer is no directory")]
    Root,
    #[error("it would replace a directory that is not empty")]
    ReplacesDirectory,
    #[error("a whiteout must be an empty regular file whose name says what it removes")]
    Whiteout,
    #[error("a whiteout has no meaning here")]
    WhiteoutHere,
    #[error("the root of a layer cannot be opaque")]
    OpaqueRoot,
    #[error("a character device 0:0 is a whiteout of overlayfs")]
    WhiteoutDevice,
    #[error("the extended attribute {0:?} cannot be set by a layer")]
    Attribute(String),
    #[error("there are more than {0} entries")]
    Entries(u64),
    #[error("it unpacks to more than {0} bytes")]
    Bytes(u64),
    #[error("it unpacks to more than {0} times its packed size")]
    Ratio(u64),
    #[error("the names of its entries are longer than {0} bytes together")]
    Names(u64),
    #[error("unpacking takes longer than {0:?}")]
    Time(Duration),
}

impl From<Fault> for io::Error {
    /// Lets a fault found below a decoder travel up through `Read`.
    fn from(fault: Fault) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }
}

impl From<io::Error> for Fault {
    /// The fault that travelled, or else what the failed read means for an archive.
    fn from(error: io::Error) -> Self {
        match error.downcast::<Fault>() {
            Ok(fault) => fault,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Truncated,
            Err(error) => Self::Unreadable(error),
        }
    }
}
