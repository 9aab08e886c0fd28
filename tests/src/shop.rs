//! `examples/shop`, up in a home of its own, on a port of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::home::{Home, said};
use crate::http::{Answer, get, post};
use crate::machine::Picture;
use crate::wait::until;

const LIMIT: Duration = Duration::from_secs(30);

/// The example with the changes that a test makes to it. What runs is gone with the value.
pub struct Shop {
    pub home: Home,
    pub folder: PathBuf,
    pub address: SocketAddr,
}

impl Shop {
    /// Not up yet; the base image is there.
    pub fn new(port: u16) -> Self {
        Self::at(Home::new(), port)
    }

    pub fn at(home: Home, port: u16) -> Self {
        home.import_base_image();
        let folder = home.example("shop");
        let shop = Self {
            home,
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        };
        shop.edit(
            "portolan.yaml",
            "port: 8080, public: true",
            &format!("port: {port}, public: true"),
        );
        shop
    }

    /// `portolan ARGUMENTS` in the example's folder, whatever comes of it.
    pub fn portolan(&self, arguments: &[&str]) -> Output {
        self.home.portolan(&self.folder, arguments).output().unwrap()
    }

    /// As [`Shop::portolan`]; what it writes to stdout. Panics unless it ends with `code`.
    pub fn answers(&self, arguments: &[&str], code: i32) -> String {
        let output = self.portolan(arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "portolan {}: {}",
            arguments.join(" "),
            said(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// `portolan up`, and what it reports of the app.
    pub fn up(&self) -> Value {
        self.report(&["up", "-o", "json"])
    }

    /// The report of the one app that the command answers about.
    pub fn report(&self, arguments: &[&str]) -> Value {
        let reports: Value = serde_json::from_str(&self.answers(arguments, 0)).unwrap();
        reports[0].clone()
    }

    /// Replaces a text that must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    pub fn get(&self, path: &str) -> Answer {
        get(self.address, path).unwrap()
    }

    pub fn add_item(&self, item: &str) -> Answer {
        post(self.address, "/items", "Authorization: Bearer open-sesame\r\n", item).unwrap()
    }

    /// Replica, revision and headline of whoever answers.
    pub fn whoami(&self) -> [String; 3] {
        let body = self.get("/whoami").body;
        let word = |name: &str| {
            let line = body.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name}in {body}")).to_string()
        };
        [word("replica "), word("revision "), word("headline ")]
    }

    /// Waits until so many different replicas have answered.
    pub fn replicas(&self, count: usize) {
        let mut seen = std::collections::BTreeSet::new();
        until(&format!("{count} replicas answer"), LIMIT, || {
            seen.insert(self.whoami()[0].clone());
            (seen.len() == count).then_some(())
        });
    }

    /// How many people have looked at the page, this look included.
    pub fn visits(&self) -> u64 {
        let page = self.get("/").body;
        let after = page.split("You are visitor number <b>").nth(1);
        let number = after.and_then(|text| text.split('<').next()).map(str::parse);
        number.unwrap_or_else(|| panic!("no number in {page}")).unwrap()
    }

    /// The machine as it is, without what every home keeps: images, caches, the journal, and the folders above them.
    pub fn picture(&self, kept: &[&str]) -> Picture {
        let always = [
            "home/data/images",
            "home/cache",
            "home/state/journal.db",
            "home/state/locks",
            "home/state/user-namespace",
            "shop",
        ];
        Picture::take(self.home.path(), |path| {
            // Written as they are, with what lies below them, above them, and beside them (`journal.db-wal`).
            let text = path.to_string_lossy();
            let stays =
                |one: &&str| path.starts_with(one) || one.starts_with(&*text) || text.starts_with(&format!("{one}-"));
            always.iter().any(stays) || kept.iter().any(stays) || is_folder_of_folders(&self.home.path().join(path))
        })
    }
}

/// A folder that holds nothing but such folders is no file that anybody left.
fn is_folder_of_folders(path: &Path) -> bool {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    path.is_dir() && entries.into_iter().all(|entry| is_folder_of_folders(&entry.path()))
}

impl Drop for Shop {
    fn drop(&mut self) {
        _ = self.portolan(&["delete", "--yes", "--volumes"]);
    }
}
