//! The machine starts again: the state is on disk, and nothing runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portolan_tests::example::Example;
use portolan_tests::machine::{Picture, files_below};
use portolan_tests::processes::{kill, kill_all_of};
use portolan_tests::{is_root, skip};
use serde_json::{Value, json};

use crate::hello::{has, hello, is_as_desired, machine, pids, run, sail, serves, until_nothing, until_some};

const PORT: u16 = 18_308;

#[test]
fn after_a_reboot_everything_comes_back_or_can_be_deleted() {
    let test = "after_a_reboot_everything_comes_back_or_can_be_deleted";
    if !is_root() {
        return skip(test, "containers are started by root");
    }
    let before = machine();
    {
        let hello = hello(PORT);
        goes_down(&hello, &before);
        hello.says(&["status"]);
        assert!(pids(&hello, "hello").is_empty(), "a look starts nothing");
        is_as_desired(&hello, PORT, "after a reboot");

        sail(&hello, 0);
        goes_down(&hello, &before);
        is_as_desired(&hello, PORT, "after a reboot, with another version");

        goes_down(&hello, &before);
        let mut command = hello
            .home
            .portolan(&hello.folder, ["controller", ".", "--listen", "none"]);
        let mut controller = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let is_back = until_some(|| (serves(PORT) && pids(&hello, "hello").len() == 2).then_some(()));
        kill("TERM", &[controller.id()]);
        assert_eq!(controller.wait().unwrap().code(), Some(0));
        assert!(is_back.is_some(), "a controller brings it back by itself");
        is_as_desired(&hello, PORT, "brought back by a controller");

        // And then it is deleted.
        goes_down(&hello, &before);
    }
    let left = until_nothing(&before);
    assert!(left.is_empty(), "left over: {left:?}");
}

/// Nothing runs any more, nothing of the kernel's is there, what was in memory neither, and the state is of another boot.
fn goes_down(hello: &Example, before: &Picture) {
    kill_all_of(&hello.home);
    let there = machine().beyond(before);
    let named = |kind: &str| -> Vec<String> {
        let found = there.iter().filter_map(|line| line.strip_prefix(kind));
        found.map(|name| name.trim_end_matches(" {").to_string()).collect()
    };
    for link in named("link ") {
        // With one end of a pair its other end goes too, and both with their containers.
        _ = Command::new("ip").args(["link", "delete", &link]).output();
    }
    if has("nft") {
        for table in named("nft table ip ") {
            run("nft", &["delete", "table", "ip", &table]);
        }
    }
    for link in named("forwards ") {
        // A bridge is gone by now.
        _ = fs::write(format!("/proc/sys/net/ipv4/conf/{link}/forwarding"), "0");
    }
    let mut groups = named("cgroup ");
    // Those within others first.
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    for group in &groups {
        // Busy until the kernel has done with the last process; the one of all apps may have others in it.
        let is_of_all = group.ends_with("/portolan");
        let gone = || fs::remove_dir(group).is_ok() || is_of_all || !Path::new(group).exists();
        assert!(until_some(|| gone().then_some(())).is_some(), "{group} stays");
    }
    let home = hello.home.portolan_home();
    fs::remove_dir_all(home.join("run")).unwrap();
    let states: Vec<PathBuf> = files_below(&home.join("state"))
        .into_iter()
        .filter(|path| path.ends_with("state.json"))
        .collect();
    assert_eq!(states.len(), 1, "{states:?}");
    let file = home.join("state").join(&states[0]);
    let mut state: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    state["boot_id"] = json!("another");
    fs::write(file, state.to_string()).unwrap();
    assert!(pids(hello, "hello").is_empty() && !serves(PORT));
}
