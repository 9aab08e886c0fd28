//! The 512-byte header block, field by field (POSIX.1-2001 "ustar Interchange Format", and GNU's variant).

use super::super::Fault;
use super::BLOCK;

/// A header whose checksum is right. Numbers are read when they are asked for.
pub(super) struct Header {
    block: [u8; BLOCK],
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// No magic: names of at most 100 bytes.
    V7,
    Ustar,
    Gnu,
}

/// Offset and length of each field that is read.
const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const CHECKSUM: (usize, usize) = (148, 8);
const TYPE: usize = 156;
const LINK: (usize, usize) = (157, 100);
const MAGIC: (usize, usize) = (257, 8);
const MAJOR: (usize, usize) = (329, 8);
const MINOR: (usize, usize) = (337, 8);
const PREFIX: (usize, usize) = (345, 155);

impl Header {
    /// `None` for a block of zeros.
    pub(super) fn parse(block: [u8; BLOCK]) -> Result<Option<Self>, Fault> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let format = match field(&block, MAGIC) {
            b"ustar\x0000" => Format::Ustar,
            b"ustar  \0" => Format::Gnu,
            other if other.iter().all(|byte| *byte == 0) => Format::V7,
            _ => return Err(Fault::Unsupported("this variant of the tar format")),
        };
        let header = Self { block, format };
        match header.number(CHECKSUM, "checksum")? == i128::from(checksum(&header.block)) {
            true => Ok(Some(header)),
            false => Err(Fault::Checksum),
        }
    }

    /// A regular file of the oldest format, written as a NUL, is given as `0`.
    pub(super) fn kind(&self) -> u8 {
        match self.block[TYPE] {
            0 => b'0',
            kind => kind,
        }
    }

    pub(super) fn name(&self) -> Result<Vec<u8>, Fault> {
        let name = self.text(NAME)?;
        if self.format != Format::Ustar || self.block[PREFIX.0] == 0 {
            return Ok(name.to_vec());
        }
        Ok([self.text(PREFIX)?, b"/", name].concat())
    }

    pub(super) fn link(&self) -> Result<&[u8], Fault> {
        self.text(LINK)
    }

    pub(super) fn mode(&self) -> Result<i128, Fault> {
        self.number(MODE, "mode")
    }

    pub(super) fn uid(&self) -> Result<i128, Fault> {
        self.number(UID, "uid")
    }

    pub(super) fn gid(&self) -> Result<i128, Fault> {
        self.number(GID, "gid")
    }

    pub(super) fn size(&self) -> Result<i128, Fault> {
        self.number(SIZE, "size")
    }

    pub(super) fn mtime(&self) -> Result<i128, Fault> {
        self.number(MTIME, "mtime")
    }

    pub(super) fn device(&self) -> Result<(i128, i128), Fault> {
        Ok((self.number(MAJOR, "major")?, self.number(MINOR, "minor")?))
    }

    /// A text ends at its first NUL; after that there is nothing but NULs.
    fn text(&self, at: (usize, usize)) -> Result<&[u8], Fault> {
        let bytes = field(&self.block, at);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        match bytes[end..].iter().all(|byte| *byte == 0) {
            true => Ok(&bytes[..end]),
            false => Err(Fault::NameNul),
        }
    }

    fn number(&self, at: (usize, usize), name: &'static str) -> Result<i128, Fault> {
        parse_number(field(&self.block, at)).ok_or(Fault::Number(name))
    }
}

/// Octal digits between blanks and NULs; or, with the first bit set, GNU's binary number, which may be negative.
fn parse_number(bytes: &[u8]) -> Option<i128> {
    if bytes[0] & 0x80 != 0 {
        let first = i128::from(bytes[0] & 0x3f) - if bytes[0] & 0x40 != 0 { 0x40 } else { 0 };
        return Some(
            bytes[1..]
                .iter()
                .fold(first, |number, byte| (number << 8) | i128::from(*byte)),
        );
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let begin = bytes.iter().position(|byte| *byte != b' ').unwrap_or(bytes.len());
    let digits = &bytes[begin..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    if !digits[end..].iter().all(blank) {
        return None;
    }
    digits[..end].iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'7' => Some(number << 3 | i128::from(digit - b'0')),
        _ => None,
    })
}

/// The sum of all bytes, those of the checksum itself counted as blanks.
pub(super) fn checksum(block: &[u8; BLOCK]) -> u32 {
    let own = CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1;
    block
        .iter()
        .enumerate()
        .map(|(at, byte)| if own.contains(&at) { 32 } else { u32::from(*byte) })
        .sum()
}

fn field(block: &[u8; BLOCK], (offset, length): (usize, usize)) -> &[u8] {
    &block[offset..offset + length]
}

/// What the writer fills in; numbers that do not fit their field go to an extended header before it.
pub(super) struct Fields<'a> {
    pub kind: u8,
    pub name: &'a [u8],
    pub link: &'a [u8],
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub size: u64,
    pub mtime: u64,
    pub device: (u32, u32),
}

/// The largest numbers that fit the octal fields of 7 and 11 digits.
pub(super) const MAX_SHORT: u64 = 0o7_777_777;
pub(super) const MAX_LONG: u64 = 0o77_777_777_777;

impl Fields<'_> {
    /// A ustar block; what is too long or too large is cut, and must stand in an extended header.
    pub(super) fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put_text(&mut block, NAME, self.name);
        put_text(&mut block, LINK, self.link);
        put_text(&mut block, MAGIC, b"ustar\x0000");
        block[TYPE] = self.kind;
        put_octal(&mut block, MODE, u64::from(self.mode));
        put_octal(&mut block, UID, if self.uid > MAX_SHORT { 0 } else { self.uid });
        put_octal(&mut block, GID, if self.gid > MAX_SHORT { 0 } else { self.gid });
        put_octal(&mut block, SIZE, if self.size > MAX_LONG { 0 } else { self.size });
        put_octal(&mut block, MTIME, if self.mtime > MAX_LONG { 0 } else { self.mtime });
        put_octal(&mut block, MAJOR, u64::from(self.device.0));
        put_octal(&mut block, MINOR, u64::from(self.device.1));
        let sum = format!("{:06o}\0 ", checksum(&block));
        block[CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1].copy_from_slice(sum.as_bytes());
        block
    }
}

fn put_text(block: &mut [u8; BLOCK], (offset, length): (usize, usize), text: &[u8]) {
    let length = text.len().min(length);
    block[offset..offset + length].copy_from_slice(&text[..length]);
}

fn put_octal(block: &mut [u8; BLOCK], (offset, length): (usize, usize), number: u64) {
    let text = format!("{number:0width$o}", width = length - 1);
    block[offset..offset + length - 1].copy_from_slice(text.as_bytes());
}
