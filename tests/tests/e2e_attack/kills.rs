//! Processes killed at random moments.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use portolan_tests::processes::kill;
use portolan_tests::{is_root, skip};

use crate::hello::{Random, hello, is_as_desired, machine, pids, sail, until_nothing};

#[test]
fn killed_twenty_times_it_ends_as_desired() {
    killed_at_random("killed_twenty_times_it_ends_as_desired", 18_301, 20, 1);
}

#[test]
#[ignore = "minutes: tests/run --full"]
fn killed_two_hundred_times_it_ends_as_desired() {
    killed_at_random("killed_two_hundred_times_it_ends_as_desired", 18_302, 200, 2);
}

const CONTROLLER: &[&str] = &["controller", ".", "--listen", "none", "--resync", "1s"];

/// Command, controller, supervisor or keeper, while an update, a rollback or a delete goes on.
fn killed_at_random(test: &str, port: u16, rounds: u32, seed: u64) {
    if !is_root() {
        return skip(test, "containers are started by root");
    }
    let before = machine();
    {
        let hello = hello(port);
        let mut random = Random(seed);
        for round in 0..rounds {
            let verb: &[&str] = match round % 5 {
                0 | 2 => &["up"],
                1 => &["rollback", "--yes"],
                3 => &["delete", "--yes"],
                _ => CONTROLLER,
            };
            let victim = ["portolan", "portolan-superv", "portolan-keeper"][random.below(3) as usize];
            let after = Duration::from_millis(random.below(1_000));
            let told = format!("round {round} of seed {seed}: {verb:?}, {victim} killed after {after:?}");
            sail(&hello, round);
            let mut command = hello.home.portolan(&hello.folder, verb);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            sleep(after);
            match victim {
                "portolan" => child.kill().unwrap(),
                name => kill("KILL", &pids(&hello, name)),
            }
            if verb == CONTROLLER {
                // It would go on for ever.
                sleep(Duration::from_millis(random.below(1_000)));
                _ = child.kill();
            }
            child.wait().unwrap();
            is_as_desired(&hello, port, &told);
        }
    }
    let left = until_nothing(&before);
    assert!(left.is_empty(), "left over: {left:?}");
}
