//! PAX extended headers: records `LENGTH KEY=VALUE\n` that override the fields of the header after them.

use super::super::Fault;
use super::Time;

/// What the records of one extended header say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<Time>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

const XATTR: &[u8] = b"SCHILY.xattr.";

/// Parses the records before one entry. Keys without a meaning for a layer (times of access, user names, comments,
/// vendors' own) are read and left; a key given twice, or one that would change how content is read, is refused.
pub(super) fn parse(bytes: &[u8]) -> Result<Extended, Fault> {
    let mut extended = Extended::default();
    let mut seen: Vec<&[u8]> = Vec::new();
    for record in records(bytes) {
        let (key, value) = record?;
        if seen.contains(&key) {
            return Err(Fault::Extended("a key is given twice"));
        }
        seen.push(key);
        extended.take(key, value)?;
    }
    Ok(extended)
}

/// The records of a global header may hold comments and nothing that would change entries.
pub(super) fn check_global(bytes: &[u8]) -> Result<(), Fault> {
    for record in records(bytes) {
        if record?.0 != b"comment" {
            return Err(Fault::Unsupported("a global extended header that changes entries"));
        }
    }
    Ok(())
}

impl Extended {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"hdrcharset" if !matches!(value, b"BINARY" | b"ISO-IR 10646 2000 UTF-8") => {
                return Err(Fault::Unsupported("this character set of extended headers"));
            }
            sparse if sparse.starts_with(b"GNU.sparse.") => return Err(Fault::Unsupported("a sparse file")),
            xattr if xattr.starts_with(XATTR) => self.xattrs.push((xattr[XATTR.len()..].to_vec(), value.to_vec())),
            _ => {}
        }
        Ok(())
    }
}

type Record<'a> = Result<(&'a [u8], &'a [u8]), Fault>;

fn records(mut bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let record = split_record(bytes);
        bytes = match &record {
            Ok((_, _, rest)) => rest,
            Err(_) => &[],
        };
        Some(record.map(|(key, value, _)| (key, value)))
    })
}

/// Key, value, and what follows the record.
type Split<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// The first record's key and value, and the bytes after it. The length counts itself, the blank and the newline.
fn split_record(bytes: &[u8]) -> Result<Split<'_>, Fault> {
    let malformed = Fault::Extended;
    let blank = bytes
        .iter()
        .take(20)
        .position(|byte| *byte == b' ')
        .ok_or(malformed("a record has no length"))?;
    let length = usize::try_from(decimal(&bytes[..blank])?).map_err(|_| malformed("a record is too long"))?;
    if length > bytes.len() || length < blank + 4 {
        return Err(malformed("a record's length is wrong"));
    }
    let (record, rest) = bytes.split_at(length);
    let Some((b'\n', text)) = record[blank + 1..].split_last() else {
        return Err(malformed("a record does not end with a newline"));
    };
    let equals = text
        .iter()
        .position(|byte| *byte == b'=')
        .ok_or(malformed("a record has no ="))?;
    match equals {
        0 => Err(malformed("a record has no key")),
        _ => Ok((&text[..equals], &text[equals + 1..], rest)),
    }
}

fn decimal(bytes: &[u8]) -> Result<u64, Fault> {
    let number = || std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
    let plain = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    plain
        .then(number)
        .flatten()
        .ok_or(Fault::Extended("a number is malformed"))
}

/// `[-]seconds[.fraction]`; digits of the fraction past the ninth are cut.
fn time(bytes: &[u8]) -> Result<Time, Fault> {
    let (negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    let (whole, fraction) = match bytes.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&bytes[..dot], &bytes[dot + 1..]),
        None => (bytes, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Extended("a time is malformed"));
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |digit| u32::from(digit - b'0'));
    let nanoseconds = (0..9).fold(0, |number, at| number * 10 + digit(at));
    let seconds = i64::try_from(decimal(whole)?).map_err(|_| Fault::Extended("a time is out of range"))?;
    Ok(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_strictly() {
        for (text, expected, reason) in [
            (&b"6 a=b\n"[..], Some(()), "the shortest record"),
            (b"12 path=a=b\n", Some(()), "a value with an equals sign"),
            (b"6 a=b\n6 a=c\n", None, "a key given twice"),
            (b"7 a=b\n", None, "a length that is too long"),
            (b"5 a=b\n", None, "a length that is too short"),
            (b"6 a=bX", None, "no newline"),
            (b"06 a=b\n", None, "a length with a leading zero is one byte off"),
            (b"+6 a=b\n", None, "a sign"),
            (b"a=b\n", None, "no length"),
            (b"5 ab\n", None, "no equals sign"),
            (b"5 =b\n", None, "no key"),
            (b"18446744073709551616 a=b\n", None, "a length beyond 64 bits"),
            (b"11 size=-1\n", None, "a negative size"),
            (
                b"22 GNU.sparse.major=1\n",
                None,
                "sparse files change how content is read",
            ),
        ] {
            assert_eq!(parse(text).ok().map(|_| ()), expected, "{reason}");
        }
    }

    #[test]
    fn times_have_fractions_and_signs() {
        for (text, seconds, nanoseconds) in [
            (&b"1.5"[..], 1, 500_000_000),
            (b"-1.25", -2, 750_000_000),
            (b"-3", -3, 0),
            (b"7.0000000019", 7, 1),
        ] {
            assert_eq!(time(text).unwrap(), Time { seconds, nanoseconds });
        }
        assert!(time(b"1.x").is_err() && time(b"").is_err() && time(b"--1").is_err());
    }
}
