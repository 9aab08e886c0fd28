//! Which ids of the machine stand behind those of the namespace, and how they come there.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Ids;
use crate::error::{Error, Result, invalid};
use crate::identity::exit_code;
use crate::sys::{self, Side, clone3};

/// What a namespace of this user's would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    pub ids: Ids,
    /// Why there is no more than one.
    pub lacking: Option<String>,
}

/// Looks at what the administrator has given this user; nothing is tried.
pub fn foreseen() -> Foreseen {
    let answer = |ids, lacking| Foreseen { ids, lacking };
    if !super::is_needed() {
        return answer(Ids::here().unwrap_or(Ids::Single), None);
    }
    match Ranges::of_this_user() {
        Ok(ranges) => answer(Ids::Range(count(&ranges.uids).min(count(&ranges.gids))), None),
        Err(lacking) => answer(Ids::Single, Some(lacking)),
    }
}

/// First id, and how many.
type Range = (u64, u64);

/// What `newuidmap` and `newgidmap` may map for this user.
struct Ranges {
    uids: Vec<Range>,
    gids: Vec<Range>,
    new_uid_map: PathBuf,
    new_gid_map: PathBuf,
}

impl Ranges {
    /// `Err` says what is missing.
    fn of_this_user() -> std::result::Result<Ranges, String> {
        let uid = rustix::process::getuid().as_raw();
        let name = name_of(uid, &fs::read_to_string("/etc/passwd").unwrap_or_default());
        let program = |name: &str| find(name).ok_or_else(|| format!("there is no `{name}` (Debian's package uidmap)"));
        let ranges = |path: &str| {
            let found = ranges_in(&fs::read_to_string(path).unwrap_or_default(), name.as_deref(), uid);
            let missing = || format!("{path} gives this user no ids");
            (!found.is_empty()).then_some(found).ok_or_else(missing)
        };
        Ok(Ranges {
            new_uid_map: program("newuidmap")?,
            new_gid_map: program("newgidmap")?,
            uids: ranges("/etc/subuid")?,
            gids: ranges("/etc/subgid")?,
        })
    }
}

fn count(ranges: &[Range]) -> u64 {
    ranges.iter().map(|(_, count)| count).sum()
}

/// Lines `NAME:X:UID:...` of passwd(5).
fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let is_meant = |line: &&str| line.split(':').nth(2) == Some(&uid.to_string());
    passwd.lines().find(is_meant)?.split(':').next().map(String::from)
}

/// Lines `USER:FIRST:COUNT` of subuid(5); the user by name or by number.
fn ranges_in(text: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let user = fields.next()?;
        let is_meant = Some(user) == name || user == uid.to_string();
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (is_meant && count > 0).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}

/// In a folder of `PATH`, or where Debian has it.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Moves this process into new namespaces, a user namespace among them, and maps its ids. The process must have one
/// thread.
pub(super) fn make(kinds: u64) -> Result<()> {
    let own = Own::now();
    match Ranges::of_this_user() {
        Err(_) => unshare(kinds).and_then(|()| own.map_alone()),
        Ok(ranges) => make_with_ranges(kinds, &ranges, own),
    }
}

fn unshare(kinds: u64) -> Result<()> {
    sys::new_namespaces(kinds).map_err(Error::system("make", "a user namespace"))
}

/// The two programs must be called from outside, where they are root: by a child that is made before this process moves.
fn make_with_ranges(kinds: u64, ranges: &Ranges, own: Own) -> Result<()> {
    let (mut ours, theirs) = UnixStream::pair().map_err(Error::system("make", "a pair of sockets"))?;
    // SAFETY: this program has one thread, as the contract of `enter` says.
    match unsafe { clone3(0, None) }.map_err(Error::system("make", "a process that maps ids"))? {
        Side::Child => {
            drop(ours);
            own.map_from_outside(ranges, theirs)
        }
        Side::Parent { pidfd, .. } => {
            drop(theirs);
            let unshared = unshare(kinds);
            let mut said = String::new();
            let told = unshared.and_then(|()| {
                let told = ours
                    .write_all(b"go")
                    .and_then(|()| ours.shutdown(std::net::Shutdown::Write));
                let heard = told.and_then(|()| ours.read_to_string(&mut said));
                heard
                    .map(drop)
                    .map_err(Error::system("hear from", "the process that maps ids"))
            });
            drop(ours);
            let mapped = exit_code(pidfd.as_fd());
            told?;
            match mapped? {
                0 => Ok(()),
                _ => Err(invalid(format!(
                    "the ids of this user cannot be mapped: {}",
                    said.trim()
                ))),
            }
        }
    }
}

/// This process as it is outside.
#[derive(Clone, Copy)]
struct Own {
    pid: u32,
    uid: u32,
    gid: u32,
}

impl Own {
    fn now() -> Own {
        Own {
            pid: std::process::id(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    /// The kernel lets everybody map the id that they have; of groups only once they can no longer be changed, since a
    /// group may also take rights away.
    fn map_alone(self) -> Result<()> {
        let write = |file: &str, text: String| {
            let path = Path::new("/proc/self").join(file);
            fs::write(&path, text).map_err(Error::system("write", path.display()))
        };
        write("uid_map", format!("0 {} 1", self.uid))?;
        write("setgroups", "deny".into())?;
        write("gid_map", format!("0 {} 1", self.gid))
    }

    /// The child's part: waits until the parent has moved, maps, and says what went wrong.
    fn map_from_outside(self, ranges: &Ranges, mut parent: UnixStream) -> ! {
        let mut go = Vec::new();
        let moved = parent.read_to_end(&mut go).is_ok() && !go.is_empty();
        let mapped = moved
            .then_some(())
            .ok_or_else(String::new)
            .and_then(|()| self.map(&ranges.new_uid_map, self.uid, &ranges.uids))
            .and_then(|()| self.map(&ranges.new_gid_map, self.gid, &ranges.gids));
        if let Err(reason) = &mapped {
            _ = parent.write_all(reason.as_bytes());
        }
        std::process::exit(mapped.is_err().into())
    }

    fn map(self, program: &Path, own: u32, ranges: &[Range]) -> std::result::Result<(), String> {
        let output = Command::new(program).args(arguments(self.pid, own, ranges)).output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(format!("{}: {error}", program.display())),
        }
    }
}

/// `PID`, and for each line of the map the first id inside, the first one outside, and how many (newuidmap(1)).
fn arguments(pid: u32, own: u32, ranges: &[Range]) -> Vec<OsString> {
    let mut numbers = vec![u64::from(pid), 0, own.into(), 1];
    let mut next = 1;
    for (first, count) in ranges {
        numbers.extend([next, *first, *count]);
        next += count;
    }
    numbers.into_iter().map(|number| number.to_string().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_user_by_name_and_by_number() {
        let text = "ann:100000:65536\nbob:200000:65536\n1001:300000:10\nbob:broken\nbob:400000:0\n";
        assert_eq!(ranges_in(text, Some("bob"), 1001), [(200_000, 65536), (300_000, 10)]);
        assert!(ranges_in(text, None, 7).is_empty(), "nobody gave it any");
    }

    #[test]
    fn ranges_follow_each_other_above_the_own_id() {
        let arguments = arguments(42, 1001, &[(200_000, 65536), (300_000, 10)]);
        let expected = "42 0 1001 1 1 200000 65536 65537 300000 10";
        assert_eq!(arguments.join(" ".as_ref()), OsString::from(expected));
    }

    #[test]
    fn a_user_has_the_name_that_passwd_says() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbob:x:1001:1001::/srv/bob:/bin/sh\n";
        assert_eq!(name_of(1001, passwd).as_deref(), Some("bob"));
        assert_eq!(name_of(100, passwd), None, "a number is not a part of another");
    }
}
