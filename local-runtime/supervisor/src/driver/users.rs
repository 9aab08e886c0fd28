//! `USER` of an image to numbers, by the image's own `/etc/passwd` and `/etc/group`.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

/// A user file longer than this is not read on: an image decides its size (CVE-2026-47262).
const MAX_BYTES: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("the image has no user `{0}` in its /etc/passwd")]
    User(String),
    #[error("the image has no group `{0}` in its /etc/group")]
    Group(String),
}

/// Resolves `uid`, `uid:gid`, `name` or `name:group`; empty is root. A bare uid takes its group from `/etc/passwd`, or 0.
pub fn resolve(user: &str, layers: &[PathBuf]) -> Result<Ids, UserError> {
    if user.is_empty() {
        return Ok(Ids { uid: 0, gid: 0 });
    }
    let passwd = read_from(layers, "passwd");
    let group = || read_from(layers, "group");
    resolve_in(user, &passwd, group)
}

fn resolve_in(user: &str, passwd: &str, group: impl FnOnce() -> String) -> Result<Ids, UserError> {
    let (name, wanted_group) = user
        .split_once(':')
        .map_or((user, None), |(name, group)| (name, Some(group)));
    let row = rows(passwd).find(|row| row.first() == Some(&name) || row.get(2) == Some(&name) && is_id(name));
    let field = |index: usize| row.as_ref().and_then(|row| row.get(index)).and_then(|text| id(text));
    let uid = id(name)
        .or_else(|| field(2))
        .ok_or_else(|| UserError::User(name.into()))?;
    let gid = match wanted_group {
        None => field(3).unwrap_or(0),
        Some(text) => match id(text) {
            Some(number) => number,
            None => {
                let table = group();
                let found = rows(&table)
                    .find(|row| row.first() == Some(&text))
                    .and_then(|row| id(row.get(2)?));
                found.ok_or_else(|| UserError::Group(text.into()))?
            }
        },
    };
    Ok(Ids { uid, gid })
}

/// The kernel's largest id but one: the largest means "none" to it (CVE-2024-40635 wrapped around there).
fn id(text: &str) -> Option<u32> {
    if is_id(text) {
        text.parse().ok().filter(|id| *id < u32::MAX)
    } else {
        None
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().map(|line| line.split(':').collect())
}

/// The file of the topmost layer that has it. Links are not followed: they could lead out of the layer.
fn read_from(layers: &[PathBuf], name: &str) -> String {
    let real = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|m| m.is_dir() || m.is_file());
    let found = layers
        .iter()
        .map(|layer| layer.join("etc"))
        .filter(real)
        .map(|etc| etc.join(name))
        .find(real);
    let mut content = String::new();
    if let Some(file) = found.and_then(|path| fs::File::open(path).ok()) {
        // A table that is no text names nobody.
        let _ = file.take(MAX_BYTES).read_to_string(&mut content);
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_as_docker_finds_them() {
        let passwd = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/app:/bin/sh\n";
        let ok = |uid, gid| Ok(Ids { uid, gid });
        for (reason, user, expected) in [
            ("a name with its group", "app", ok(1000, 1001)),
            ("a number takes the group of its row", "1000", ok(1000, 1001)),
            ("a number without a row has group 0", "5", ok(5, 0)),
            ("both as numbers", "5:6", ok(5, 6)),
            ("a group by name", "app:mail", ok(1000, 8)),
            ("an unknown user", "nobody", Err(UserError::User("nobody".into()))),
            ("an unknown group", "app:wheel", Err(UserError::Group("wheel".into()))),
            (
                "an id beyond 32 bits",
                "4294967296",
                Err(UserError::User("4294967296".into())),
            ),
            (
                "the id that means none",
                "4294967295",
                Err(UserError::User("4294967295".into())),
            ),
        ] {
            assert_eq!(resolve_in(user, passwd, || "mail:x:8:\n".into()), expected, "{reason}");
        }
    }
}
