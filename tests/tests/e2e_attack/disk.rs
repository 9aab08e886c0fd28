//! State and store on a disk that is full.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use portolan_tests::home::Home;
use portolan_tests::{is_root, skip};

use crate::hello::{hello_in, is_as_desired, machine, pids, run, sail, serves, until_nothing};

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let test = "a_full_disk_is_said_and_loses_nothing";
    if !is_root() {
        return skip(test, "a file system is mounted by root");
    }
    let before = machine();
    {
        let home = Home::new();
        let disk = Disk::mount(&home.portolan_home());
        let hello = hello_in(home, 18_305);
        let containers = pids(&hello, "hello");
        sail(&hello, 0);
        disk.fill();
        let said = hello.fails(&["up"]);
        assert!(said.contains("no space is left on its disk"), "{said}");
        hello.says(&["status"]);
        assert!(serves(18_305), "the old revision goes on");
        assert_eq!(pids(&hello, "hello"), containers);
        disk.make_room();
        is_as_desired(&hello, 18_305, "after room was made");
    }
    let left = until_nothing(&before);
    assert!(left.is_empty(), "left over: {left:?}");
}

/// A small file system in memory, gone with the value.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        run(
            "mount",
            &["-t", "tmpfs", "-o", "size=512m", "none", folder.to_str().unwrap()],
        );
        Self(folder.into())
    }

    /// To the last byte.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("full")).unwrap();
        let (mut size, zeroes) = (1 << 20, vec![0; 1 << 20]);
        while size > 0 {
            if file.write_all(&zeroes[..size]).is_err() {
                size /= 2;
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("full")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy", self.0.to_str().unwrap()]);
        // The home could not go while it was mounted there.
        _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}
