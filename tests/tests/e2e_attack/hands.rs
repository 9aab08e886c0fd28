//! Somebody takes away what belongs to the app; nobody runs a command.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use portolan_tests::example::Example;
use portolan_tests::machine::files_below;
use portolan_tests::processes::kill;
use portolan_tests::{is_root, program, skip};

use crate::hello::{has, hello, is_as_desired, machine, pids, run, serves, until_nothing};

#[test]
fn what_is_taken_away_by_hand_is_put_back() {
    let test = "what_is_taken_away_by_hand_is_put_back";
    if !is_root() {
        return skip(test, "containers are started by root");
    }
    if !has("ip") || !has("nft") {
        return skip(test, "it takes `ip` and `nft` to take links and rules away");
    }
    let before = machine();
    {
        let hello = hello(18_304);
        let there = || machine().beyond(&before);
        let names = |kind: &str| -> Vec<String> {
            let found = there().into_iter();
            found
                .filter_map(|line| Some(line.strip_prefix(kind)?.trim().to_string()))
                .collect()
        };
        let lasting = || -> Vec<String> {
            let lasts = |line: &String| !line.starts_with("process ");
            there().into_iter().filter(lasts).collect()
        };
        let whole = lasting();
        let links = names("link ");
        assert!(links.len() >= 3, "a bridge and the links of two replicas: {links:?}");
        let table = names("nft table ip ").pop().expect("an app has rules");
        let table = table.trim_end_matches(" {").to_string();
        for link in &links {
            run("ip", &["link", "delete", link]);
            is_whole_again(&hello, 18_304, &format!("without {link}"), || lasting() == whole);
        }
        run("nft", &["delete", "table", "ip", &table]);
        is_whole_again(&hello, 18_304, "without rules", || lasting() == whole);
        take_cgroups_away(&hello);
        is_whole_again(&hello, 18_304, "without cgroups", || lasting() == whole);
    }
    let left = until_nothing(&before);
    assert!(left.is_empty(), "left over: {left:?}");
}

#[test]
fn containers_that_are_taken_away_by_hand_come_back() {
    let test = "containers_that_are_taken_away_by_hand_come_back";
    if !is_root() {
        return skip(test, "containers are started by root");
    }
    let before = machine();
    {
        let hello = hello(18_307);
        // Three times each: a container that ends more often in a row is said to crash.
        kill("KILL", &pids(&hello, "hello"));
        is_whole_again(&hello, 18_307, "all were killed", || true);
        let runtimes = records_of_containers(&hello);
        assert_eq!(runtimes.len(), 2, "one of each replica: {runtimes:?}");
        for record in &runtimes {
            let (root, id) = (record.parent().unwrap(), record.file_name().unwrap());
            let (runtime, root) = (program("portolan-runtime"), root.to_str().unwrap());
            let arguments = ["--root", root, "delete", "--force", id.to_str().unwrap()];
            run(runtime.to_str().unwrap(), &arguments);
        }
        is_whole_again(&hello, 18_307, "all were deleted by the runtime", || true);
        for record in records_of_containers(&hello) {
            fs::remove_dir_all(record).unwrap();
        }
        is_as_desired(&hello, 18_307, "without the runtime's records");
        kill("KILL", &pids(&hello, "hello"));
        is_whole_again(&hello, 18_307, "killed without the runtime's records", || true);
    }
    let left = until_nothing(&before);
    assert!(left.is_empty(), "left over: {left:?}");
}

/// Folders that the runtime keeps, one for each container.
fn records_of_containers(hello: &Example) -> Vec<PathBuf> {
    let run = hello.home.portolan_home().join("run");
    let is_record = |path: &PathBuf| path.parent().is_some_and(|root| root.ends_with("runtime"));
    let found = files_below(&run).into_iter().filter(is_record);
    found.map(|path| run.join(path)).filter(|path| path.is_dir()).collect()
}

/// Its processes run on, in the topmost group, without a limit.
fn take_cgroups_away(hello: &Example) {
    let mut groups = BTreeSet::new();
    for pid in pids(hello, "hello") {
        for line in fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().lines() {
            let (_, group) = line.rsplit_once(':').unwrap();
            if group.contains("portolan") {
                groups.insert(group.trim_start_matches('/').to_string());
            }
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_cgroup = |line: &&str| line.contains(" - cgroup");
    for mount in mounts
        .lines()
        .filter(is_cgroup)
        .map(|line| line.split(' ').nth(4).unwrap())
    {
        for group in &groups {
            let folder = Path::new(mount).join(group);
            for pid in fs::read_to_string(folder.join("cgroup.procs"))
                .unwrap_or_default()
                .lines()
            {
                fs::write(Path::new(mount).join("cgroup.procs"), pid).unwrap();
            }
            _ = fs::remove_dir(folder);
        }
    }
}

/// By itself: nobody runs a command.
fn is_whole_again(hello: &Example, port: u16, told: &str, is_whole: impl Fn() -> bool) {
    let whole = (0..150).any(|_| {
        sleep(Duration::from_millis(100));
        serves(port) && pids(hello, "hello").len() == 2 && is_whole()
    });
    assert!(whole, "{told}: {:#?}", machine());
    is_as_desired(hello, port, told);
}
