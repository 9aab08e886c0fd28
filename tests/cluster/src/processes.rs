//! The programs of one cluster, and the promise that they end with their test, however it ends.
//!
//! All of them are in one process group, whose leader is a guard: a shell that reads its standard input. When the test
//! is done with them it closes that, and when it is killed the kernel does. Then the guard ends the group, waits until
//! it is gone, and takes away what the cluster may have left: its folder, and cgroups of the folder's name. So there is
//! one way to end, and no number of a process is used that could meanwhile be somebody else's.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::error::{Error, Result};

/// Its end has to outlive the group, and `setsid` leaves that.
const GUARD: &str = r#"
read -r _
exec setsid sh -c "$1" end "$$" "$2"
"#;

/// A cgroup can be removed a moment after the last process in it has ended; after ten seconds something is wrong, which
/// whoever looks for leftovers will find.
const END: &str = r#"
kill -s KILL -- "-$1" 2>/dev/null
while kill -s 0 -- "-$1" 2>/dev/null; do sleep 0.05; done
for _ in $(seq 200); do
    left=
    for cgroup in "/sys/fs/cgroup/${2##*/}" /sys/fs/cgroup/*/"${2##*/}"; do
        [ -d "$cgroup" ] || continue
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
    done
    [ "$left" ] || break
    sleep 0.05
done
rm -rf -- "$2"
"#;

/// As many lines of a program's log are told when it ends by itself.
const TOLD: usize = 15;

pub(crate) struct Processes {
    folder: TempDir,
    guard: Child,
    programs: Vec<Program>,
}

struct Program {
    name: String,
    child: Child,
}

impl Processes {
    /// None yet, and a folder for what they keep.
    pub(crate) fn new() -> Result<Self> {
        let made = tempfile::Builder::new().prefix("portolan-cluster-").tempdir();
        let folder = made.map_err(Error::system("make a folder for a cluster"))?;
        fs::create_dir(folder.path().join("logs")).map_err(Error::system("make a folder for logs"))?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard", END]).arg(folder.path());
        guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        guard.current_dir("/").process_group(0);
        let guard = guard.spawn().map_err(Error::system("start a cluster's guard"))?;
        Ok(Self {
            folder,
            guard,
            programs: Vec::new(),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts one, and answers its number; what it says goes to its log.
    pub(crate) fn start(&mut self, name: &str, mut command: Command) -> Result<u32> {
        let doing = || Error::system(format!("start {name}"));
        let log = File::create(self.log(name)).map_err(doing())?;
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(doing())?);
        command.stderr(log).process_group(self.guard.id().cast_signed());
        let child = command.spawn().map_err(doing())?;
        let pid = child.id();
        self.programs.push(Program {
            name: name.to_string(),
            child,
        });
        Ok(pid)
    }

    /// Fails where one has ended by itself.
    pub(crate) fn all_run(&mut self) -> Result<()> {
        let ended = |program: &mut Program| !matches!(program.child.try_wait(), Ok(None));
        let Some(at) = self.programs.iter_mut().position(ended) else {
            return Ok(());
        };
        let program = self.programs[at].name.clone();
        let said = self.last_words(&program);
        Err(Error::Ended { program, said })
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder().join("logs").join(format!("{name}.log"))
    }

    fn last_words(&self, name: &str) -> String {
        let text = fs::read(self.log(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TOLD)..].join("\n")
    }

    /// Ends them. What cannot be waited for has ended already.
    fn end(&mut self) {
        drop(self.guard.stdin.take());
        for program in &mut self.programs {
            _ = program.child.wait();
        }
        _ = self.guard.wait();
        if let Some(mut output) = self.guard.stdout.take() {
            // It says nothing; its output is closed when it has done everything.
            _ = output.read_to_end(&mut Vec::new());
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if let (true, Err(error)) = (std::thread::panicking(), self.all_run()) {
            eprintln!("{error}");
        }
        self.end();
    }
}
