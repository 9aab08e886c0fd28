//! The programs of one cluster, and the promise that they end with their test, however it ends.
//!
//! All of them are in one process group, whose leader is a guard: a shell that waits for a word on its standard input.
//! A test that returns or panics ends its programs one by one and says the word. One that is killed says nothing; the
//! kernel closes its end, and the guard ends the group and removes the folder. So no number of a process is ever used
//! that could meanwhile be somebody else's.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::error::{Error, Result};

/// The group's end has to outlive the group: `setsid` leaves it. The shell that the group ends may be its own.
const GUARD: &str = r#"
read -r _ && exit
exec setsid sh -c '
    kill -s KILL -- "-$1"
    while kill -s 0 -- "-$1" 2>/dev/null; do sleep 0.1; done
    rm -rf -- "$2"
' end "$$" "$1"
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
        guard.args(["-c", GUARD, "guard"]).arg(folder.path());
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
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

    /// Starts one; what it says goes to its log.
    pub(crate) fn start(&mut self, name: &str, mut command: Command) -> Result<()> {
        let doing = || Error::system(format!("start {name}"));
        let log = File::create(self.log(name)).map_err(doing())?;
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(doing())?);
        command.stderr(log).process_group(self.guard.id().cast_signed());
        let child = command.spawn().map_err(doing())?;
        self.programs.push(Program {
            name: name.to_string(),
            child,
        });
        Ok(())
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

    /// Ends them, the last one first. What cannot be ended has ended already.
    fn end(&mut self) {
        for program in self.programs.iter_mut().rev() {
            _ = program.child.kill();
        }
        for program in &mut self.programs {
            _ = program.child.wait();
        }
        if let Some(mut input) = self.guard.stdin.take() {
            _ = input.write_all(b"done\n");
        }
        _ = self.guard.wait();
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
