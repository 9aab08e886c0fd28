//! An example, up in a home of its own, with the changes that a test makes to it.

use std::fs;
use std::path::PathBuf;

use crate::home::{Home, said};

/// What runs is gone with the value, and must go without a fault.
pub struct Example {
    pub home: Home,
    pub folder: PathBuf,
}

impl Example {
    /// `change` makes another manifest of the example's, for a port of the test's own at least.
    pub fn up(name: &str, change: impl FnOnce(String) -> String) -> Self {
        Self::up_in(Home::new(), name, change)
    }

    /// So in a home that the test has made.
    pub fn up_in(home: Home, name: &str, change: impl FnOnce(String) -> String) -> Self {
        home.import_base_image();
        let folder = home.example(name);
        let manifest = folder.join("portolan.yaml");
        fs::write(&manifest, change(fs::read_to_string(&manifest).unwrap())).unwrap();
        let example = Self { home, folder };
        example.says(&["up"]);
        example
    }

    /// What `portolan ARGUMENTS` writes to stdout, where it ends with 0.
    pub fn says(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.home.run(&self.folder, arguments).stdout).unwrap()
    }

    /// Everything that `portolan ARGUMENTS` writes, where it ends with 1.
    pub fn fails(&self, arguments: &[&str]) -> String {
        self.ends_with(1, arguments)
    }

    /// So where it ends with that code.
    pub fn ends_with(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.home.portolan(&self.folder, arguments).output().unwrap();
        let text = said(&output);
        assert_eq!(
            output.status.code(),
            Some(code),
            "portolan {}: {text}",
            arguments.join(" ")
        );
        text
    }

    /// Replaces a text that must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        fs::write(path, text.replace(from, to)).unwrap();
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let delete = self
            .home
            .portolan(&self.folder, ["delete", "--yes", "--volumes"])
            .output();
        assert!(std::thread::panicking() || delete.unwrap().status.success());
    }
}
