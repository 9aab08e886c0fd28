//! ADD of a local archive: recognised by its content, as the reference says, and unpacked by the strict reader that
//! unpacks layers.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::error::StepError;
use crate::layer::{Compression, UnpackOptions, Whiteouts, unpack};

/// What the first bytes of `file` say: how to unpack it, or `None` when it is no archive and is copied as it is.
///
/// # Errors
/// A tar packed with bzip2 or xz, which Docker would unpack and this build cannot, is refused rather than copied.
pub(super) fn compression_of(file: &mut File, name: &Path) -> Result<Option<Compression>, StepError> {
    let failed = || StepError::file("read", name);
    let mut start = Vec::new();
    file.take(512).read_to_end(&mut start).map_err(failed())?;
    file.seek(SeekFrom::Start(0)).map_err(failed())?;
    if start.starts_with(b"BZh") || start.starts_with(b"\xfd7zXZ\0") {
        return Err(StepError::Invalid {
            cause: format!("{} is packed with bzip2 or xz, which ADD cannot unpack", name.display()),
            hint: Some("use COPY to take the file as it is, or pack the archive with gzip or zstd".into()),
        });
    }
    let compression = Compression::of_first_bytes(&start);
    let mut header = Vec::new();
    if let Ok(decoder) = compression.decoder(&mut *file) {
        // What does not decompress is no archive, and is copied as it is.
        let _ = decoder.take(512).read_to_end(&mut header);
    }
    file.seek(SeekFrom::Start(0)).map_err(failed())?;
    Ok(is_tar(&header).then_some(compression))
}

/// Unpacks the archive into the empty directory `into`.
pub(super) fn extract(file: File, compression: Compression, into: &Path) -> Result<(), StepError> {
    let options = UnpackOptions {
        whiteouts: Whiteouts::Refused,
        ..UnpackOptions::default()
    };
    unpack(file, compression, into, &options)
        .map(drop)
        .map_err(|source| StepError::Layer { source })
}

/// The checksum of a tar header: the sum of its bytes, its own field read as blanks (POSIX.1-2017, pax, "ustar").
fn is_tar(header: &[u8]) -> bool {
    let Some(field) = header.get(148..156).filter(|_| header.len() == 512) else {
        return false;
    };
    let digits: String = field
        .iter()
        .map(|byte| *byte as char)
        .filter(char::is_ascii_digit)
        .collect();
    let sum = |range: &[u8]| range.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let expected = sum(&header[..148]) + 8 * u32::from(b' ') + sum(&header[156..]);
    u32::from_str_radix(&digits, 8) == Ok(expected) && header[0] != 0
}
