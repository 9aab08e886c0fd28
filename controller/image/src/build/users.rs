//! Users and groups by name or number, as the image itself knows them: `USER` and `--chown` read `/etc/passwd` and
//! `/etc/group` of the image, never the host's, and never more of them than a limit (CVE-2026-47262). A number that
//! does not fit is refused and never wraps around to root (CVE-2024-40635).

use std::path::Path;

use super::error::StepError;
use super::tree::Owner;
use super::view::View;

/// Most bytes read of either file.
const MAX_FILE: u64 = 1 << 20;
/// Largest user or group number, as containerd allows.
const MAX_ID: u32 = i32::MAX as u32;

/// Who runs a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub owner: Owner,
    /// Further groups that the image gives the user.
    pub groups: Vec<u32>,
    pub home: String,
}

struct Passwd {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// The user of `USER user[:group]`; empty is root. Without a group, a user that the image does not know by number has
/// the group 0.
pub(super) fn user(text: &str, view: &View) -> Result<User, StepError> {
    let text = if text.is_empty() { "0" } else { text };
    let (name, group) = text
        .split_once(':')
        .map_or((text, None), |(name, group)| (name, Some(group)));
    let known = passwd(view)?
        .into_iter()
        .find(|entry| entry.name == name || number(name) == Some(entry.uid));
    let uid = match (&known, number(name)) {
        (_, Some(uid)) => uid,
        (Some(entry), None) => entry.uid,
        (None, None) => return Err(unknown("user", name, "/etc/passwd")),
    };
    let gid = match group {
        Some(group) => group_id(group, view)?,
        None => known.as_ref().map_or(0, |entry| entry.gid),
    };
    let groups = match (&known, group) {
        (Some(entry), None) => memberships(&entry.name, view)?,
        _ => Vec::new(),
    };
    let home = known.map(|entry| entry.home).filter(|home| home.starts_with('/'));
    let default = if uid == 0 { "/root" } else { "/" };
    Ok(User {
        owner: Owner { uid, gid },
        groups,
        home: home.unwrap_or_else(|| default.into()),
    })
}

/// The owner of `--chown=user[:group]`; without a group, the group has the user's number, as the reference says.
pub(super) fn owner(text: &str, view: &View) -> Result<Owner, StepError> {
    let (name, group) = text
        .split_once(':')
        .map_or((text, None), |(name, group)| (name, Some(group)));
    let uid = match number(name) {
        Some(uid) => uid,
        None => {
            let known = passwd(view)?.into_iter().find(|entry| entry.name == name);
            known.ok_or_else(|| unknown("user", name, "/etc/passwd"))?.uid
        }
    };
    let gid = match group {
        Some(group) => group_id(group, view)?,
        None => uid,
    };
    Ok(Owner { uid, gid })
}

fn group_id(name: &str, view: &View) -> Result<u32, StepError> {
    if let Some(gid) = number(name) {
        return Ok(gid);
    }
    let known = groups(view)?
        .into_iter()
        .find(|(group, _, _)| group == name)
        .map(|(_, gid, _)| gid);
    known.ok_or_else(|| unknown("group", name, "/etc/group"))
}

fn memberships(user: &str, view: &View) -> Result<Vec<u32>, StepError> {
    let member = |(_, gid, members): (String, u32, String)| members.split(',').any(|name| name == user).then_some(gid);
    Ok(groups(view)?.into_iter().filter_map(member).collect())
}

fn passwd(view: &View) -> Result<Vec<Passwd>, StepError> {
    let entry = |fields: Vec<&str>| {
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return None;
        };
        let (name, home) = ((*name).to_owned(), (*home).to_owned());
        Some(Passwd {
            name,
            uid: number(uid)?,
            gid: number(gid)?,
            home,
        })
    };
    Ok(lines("/etc/passwd", view)?
        .lines()
        .filter_map(|line| entry(line.split(':').collect()))
        .collect())
}

fn groups(view: &View) -> Result<Vec<(String, u32, String)>, StepError> {
    let entry = |fields: Vec<&str>| {
        let [name, _, gid, members, ..] = fields.as_slice() else {
            return None;
        };
        Some(((*name).to_owned(), number(gid)?, (*members).to_owned()))
    };
    Ok(lines("/etc/group", view)?
        .lines()
        .filter_map(|line| entry(line.split(':').collect()))
        .collect())
}

fn lines(path: &str, view: &View) -> Result<String, StepError> {
    let bytes = view.read(Path::new(path), MAX_FILE).map_err(StepError::rootfs(path))?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|id| *id <= MAX_ID)
}

fn unknown(what: &str, name: &str, file: &str) -> StepError {
    let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    match digits {
        true => StepError::invalid(format!("the {what} number {name} is larger than {MAX_ID}")),
        false => StepError::Invalid {
            cause: format!("the image knows no {what} {name:?}"),
            hint: Some(format!("name it by number, or add it to {file} of the image first")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let passwd =
            "root:x:0:0::/root:/bin/sh\napp:x:1000:100:App:/srv/app:/bin/sh\nbroken\nwrap:x:4294967296:0::/:\n";
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(root.path().join("etc/group"), "staff:x:50:app,other\nusers:x:100:\n").unwrap();
        let view = View::new(vec![root.path().into()]);
        let ids = |text: &str| {
            user(text, &view)
                .map(|user| (user.owner.uid, user.owner.gid, user.groups))
                .ok()
        };
        assert_eq!(ids(""), Some((0, 0, vec![])));
        assert_eq!(ids("app"), Some((1000, 100, vec![50])));
        assert_eq!(ids("1000"), Some((1000, 100, vec![50])));
        assert_eq!(ids("app:staff"), Some((1000, 50, vec![])));
        assert_eq!(ids("7:8"), Some((7, 8, vec![])));
        assert_eq!(ids("7"), Some((7, 0, vec![])));
        for bad in ["nobody-here", "app:none", "4294967296", "2147483648", "wrap", "-1", ":"] {
            assert_eq!(ids(bad), None, "{bad}");
        }
        assert_eq!(user("app", &view).unwrap().home, "/srv/app");
        assert_eq!(owner("7", &view).unwrap(), Owner { uid: 7, gid: 7 });
        assert_eq!(owner("app", &view).unwrap(), Owner { uid: 1000, gid: 1000 });
        assert_eq!(owner("app:users", &view).unwrap(), Owner { uid: 1000, gid: 100 });
    }
}
