//! `USER` of an image to numbers, by the image's own `/etc/passwd` and `/etc/group`.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use portolan_oci::userns;

/// A user file longer than this is not read on: an image decides its size (CVE-2026-47262).
const MAX_BYTES: u64 = 1 << 20;

/// Who a container's process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    pub uid: u32,
    pub gid: u32,
    /// Groups of `/etc/group` that name the user; none where a group was asked for.
    pub groups: Vec<u32>,
    /// `/` for a user without a row.
    pub home: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("the image has no user `{0}` in its /etc/passwd")]
    User(String),
    #[error("the image has no group `{0}` in its /etc/group")]
    Group(String),
    #[error("the id {0} is not among those of this user's containers; `portolan doctor` says what gives it more")]
    Unmapped(u32),
}

/// Resolves `uid`, `uid:gid`, `name` or `name:group`; empty is root. A bare uid takes its group from `/etc/passwd`, or 0.
pub fn resolve(user: &str, layers: &[PathBuf]) -> Result<Ids, UserError> {
    let user = if user.is_empty() { "0" } else { user };
    let ids = resolve_in(user, &read_from(layers, "passwd"), &read_from(layers, "group"))?;
    let here = userns::Ids::here().unwrap_or(userns::Ids::All);
    let mut wanted = [ids.uid, ids.gid].into_iter().chain(ids.groups.iter().copied());
    match wanted.find(|id| !here.have(*id)) {
        Some(id) => Err(UserError::Unmapped(id)),
        None => Ok(ids),
    }
}

fn resolve_in(user: &str, passwd: &str, group: &str) -> Result<Ids, UserError> {
    let (name, wanted_group) = user
        .split_once(':')
        .map_or((user, None), |(name, group)| (name, Some(group)));
    let row = rows(passwd).find(|row| row.first() == Some(&name) || row.get(2) == Some(&name) && is_id(name));
    let text = |index: usize| row.as_ref().and_then(|row| row.get(index)).copied();
    let field = |index: usize| text(index).and_then(id);
    let uid = id(name)
        .or_else(|| field(2))
        .ok_or_else(|| UserError::User(name.into()))?;
    let home = text(5).filter(|home| home.starts_with('/')).unwrap_or("/").to_string();
    let (gid, groups) = match wanted_group {
        None => (field(3).unwrap_or(0), groups_of(text(0), group)),
        Some(wanted) => (group_id(wanted, group)?, Vec::new()),
    };
    Ok(Ids { uid, gid, groups, home })
}

fn group_id(wanted: &str, group: &str) -> Result<u32, UserError> {
    let named = || {
        rows(group)
            .find(|row| row.first() == Some(&wanted))
            .and_then(|row| id(row.get(2)?))
    };
    id(wanted).or_else(named).ok_or_else(|| UserError::Group(wanted.into()))
}

fn groups_of(user: Option<&str>, group: &str) -> Vec<u32> {
    let Some(user) = user else { return Vec::new() };
    let names_user = |row: &Vec<&str>| {
        row.get(3)
            .is_some_and(|members| members.split(',').any(|one| one == user))
    };
    rows(group)
        .filter(names_user)
        .filter_map(|row| id(row.get(2)?))
        .collect()
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
        let group = "mail:x:8:\nwheel:x:10:root,app\n";
        let ok = |uid, gid, groups: &[u32], home: &str| {
            Ok(Ids {
                uid,
                gid,
                groups: groups.to_vec(),
                home: home.into(),
            })
        };
        for (reason, user, expected) in [
            ("a name with its groups", "app", ok(1000, 1001, &[10], "/app")),
            (
                "a number takes the groups of its row",
                "1000",
                ok(1000, 1001, &[10], "/app"),
            ),
            ("a number without a row has group 0", "5", ok(5, 0, &[], "/")),
            ("both as numbers", "5:6", ok(5, 6, &[], "/")),
            (
                "a group by name, and then no other",
                "app:mail",
                ok(1000, 8, &[], "/app"),
            ),
            ("an unknown user", "nobody", Err(UserError::User("nobody".into()))),
            ("an unknown group", "app:staff", Err(UserError::Group("staff".into()))),
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
            assert_eq!(resolve_in(user, passwd, group), expected, "{reason}");
        }
    }
}
