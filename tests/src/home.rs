//! A home of its own for a test: `PORTOLAN_HOME` and a folder to work in, gone with the test.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::scratch::Scratch;
use crate::{program, root};

/// Name of the image that the examples build on.
pub const BASE_IMAGE: &str = "portolan.local/base:latest";

/// Where one test's Portolan keeps everything.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
    user: Option<Scratch>,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("portolan-test-").tempdir().unwrap();
        Self { folder, user: None }
    }

    /// One whose commands are an unprivileged user's.
    pub fn of(user: Scratch) -> Self {
        let home = Self {
            user: Some(user),
            ..Self::new()
        };
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        user.write_files(&home.path().join("etc"));
        user.own(home.path());
        home
    }

    pub fn user(&self) -> Option<Scratch> {
        self.user
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `PORTOLAN_HOME`.
    pub fn portolan_home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// `portolan ARGUMENTS`, run in `folder`, with nothing of the user's own around it.
    pub fn portolan<A: AsRef<OsStr>>(&self, folder: &Path, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = match self.user {
            None => Command::new(program("portolan")),
            Some(user) => user.command(&self.path().join("etc"), &program("portolan")),
        };
        command
            .args(arguments)
            .current_dir(folder)
            .stdin(std::process::Stdio::null());
        command
            .env("PORTOLAN_HOME", self.portolan_home())
            .env("HOME", self.path())
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .env_remove("DOCKER_CONFIG");
        command
    }

    /// As [`Home::portolan`], to its end; panics with all that it said unless it ends with 0.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        let output = self.portolan(folder, arguments).output().unwrap();
        assert!(
            output.status.success(),
            "portolan {}: {}",
            arguments.join(" "),
            said(&output)
        );
        output
    }

    /// Makes the image that the examples build on and imports it. A second or two, and some 100 MB.
    pub fn import_base_image(&self) {
        let tree = self.path().join("base");
        let made = Command::new("sh")
            .arg(root().join("examples/base/make.sh"))
            .arg(&tree)
            .output()
            .unwrap();
        assert!(made.status.success(), "make.sh: {}", said(&made));
        self.user.iter().for_each(|user| user.own(&tree));
        self.run(
            self.path(),
            &["image", "import", "--name", BASE_IMAGE, tree.to_str().unwrap()],
        );
        std::fs::remove_dir_all(tree).unwrap();
    }

    /// A copy of one of the examples, which the test may change.
    pub fn example(&self, name: &str) -> PathBuf {
        let copy = self.path().join(name);
        let copied = Command::new("cp")
            .arg("-r")
            .arg(root().join("examples").join(name))
            .arg(&copy)
            .status();
        assert!(copied.unwrap().success(), "cannot copy the example {name}");
        self.user.iter().for_each(|user| user.own(&copy));
        copy
    }
}

/// Everything that a program wrote.
pub fn said(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    format!("{}\n{stdout}{}", output.status, String::from_utf8_lossy(&output.stderr))
}
