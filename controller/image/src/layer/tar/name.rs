//! Names inside an archive: bytes without an encoding, made relative and plain, or refused.

use super::super::Fault;

/// The longest single component that Linux file systems take.
const MAX_COMPONENT: usize = 255;

/// `./a//b/` becomes `a/b`; `.` and `./` become empty, which is the root.
pub(super) fn normalise(name: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    if name.is_empty() {
        return Err(Fault::NameEmpty);
    }
    if name.contains(&0) {
        return Err(Fault::NameNul);
    }
    if name[0] == b'/' {
        return Err(Fault::NameAbsolute);
    }
    if name.len() > limit {
        return Err(Fault::NameLong(limit));
    }
    let mut plain = Vec::with_capacity(name.len());
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(Fault::NameUpwards),
            long if long.len() > MAX_COMPONENT => return Err(Fault::NameLong(MAX_COMPONENT)),
            _ => {}
        }
        if !plain.is_empty() {
            plain.push(b'/');
        }
        plain.extend_from_slice(component);
    }
    Ok(plain)
}

/// The target of a symbolic link is kept as it is, if a file system can hold it.
pub(super) fn check_target(target: &[u8]) -> Result<(), Fault> {
    match target.is_empty() || target.len() > 4095 || target.contains(&0) {
        true => Err(Fault::LinkTarget),
        false => Ok(()),
    }
}
