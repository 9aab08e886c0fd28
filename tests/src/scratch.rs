//! An unprivileged user that no file of the machine knows: commands run in a mount namespace whose /etc names it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::machine::names_in;

/// A number that nobody has, and how many further ids it may map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scratch {
    pub uid: u32,
    pub further: u32,
}

/// The first of the further ids.
pub const FIRST_FURTHER: u32 = 700_000;

/// Covers the files that say who there is, and becomes the user.
const ENTER: &str = r#"
etc=$1 uid=$2
shift 2
for file in passwd group subuid subgid; do
    [ ! -e "/etc/$file" ] || mount --bind "$etc/$file" "/etc/$file"
done
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups -- "$@"
"#;

impl Scratch {
    pub(crate) fn write_files(self, etc: &Path) {
        let Self { uid, further } = self;
        let ranges = match further {
            0 => String::new(),
            further => format!("scratch:{FIRST_FURTHER}:{further}\n"),
        };
        fs::create_dir(etc).unwrap();
        for (file, line) in [
            ("passwd", format!("scratch:x:{uid}:{uid}::/nonexistent:/bin/sh\n")),
            ("group", format!("scratch:x:{uid}:\n")),
            ("subuid", ranges.clone()),
            ("subgid", ranges),
        ] {
            fs::write(etc.join(file), format!("root:x:0:0::/root:/bin/sh\n{line}")).unwrap();
        }
    }

    /// Gives it a folder and all in it.
    pub(crate) fn own(self, folder: &Path) {
        let owner = format!("{0}:{0}", self.uid);
        let owned = Command::new("chown").args(["-R", &owner]).arg(folder).status();
        assert!(owned.unwrap().success(), "chown {}", folder.display());
    }

    pub(crate) fn command(self, etc: &Path, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", ENTER, "enter"]);
        command.arg(etc).arg(self.uid.to_string()).arg(program);
        command
    }

    /// Its processes, and those of its further ids; not one that waits to be reaped.
    pub fn processes(self) -> Vec<u32> {
        let further = FIRST_FURTHER..FIRST_FURTHER + self.further;
        let is_its = |pid: &u32| {
            let Ok(found) = fs::metadata(format!("/proc/{pid}")) else {
                return false;
            };
            let lives = fs::read_link(format!("/proc/{pid}/exe")).is_ok();
            lives && (found.uid() == self.uid || further.contains(&found.uid()))
        };
        names_in("/proc")
            .iter()
            .filter_map(|name| name.parse().ok())
            .filter(is_its)
            .collect()
    }
}
