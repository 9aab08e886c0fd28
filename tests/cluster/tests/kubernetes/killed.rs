//! A test that is killed leaves nothing either: of a control plane, and of a node with its pods.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use portolan_cluster::{ControlPlane, Node, leftovers, or_skip};

use crate::node::{WEB, import_web};
use crate::{folder_of, until};

/// Tells the child which of them to hold.
const HOLD: &str = "PORTOLAN_TEST_CLUSTER";

fn leaves_nothing_when_killed(what: &str) {
    let this = std::env::current_exe().unwrap();
    let mut child = Command::new(&this)
        .args([
            "--ignored",
            "--exact",
            "killed::child_that_holds_a_cluster_until_killed",
            "--nocapture",
        ])
        .env(HOLD, what)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut begun = lines
        .map(Result::unwrap)
        .filter_map(|line| Some(line.split_once("begun ")?.1.to_string()));
    let folder = PathBuf::from(begun.next().unwrap());
    assert!(leftovers::of(&folder).len() >= 5, "{:?}", leftovers::of(&folder));
    child.kill().unwrap();
    child.wait().unwrap();
    until("all of it is gone", || leftovers::of(&folder).is_empty().then_some(()));
}

#[test]
fn a_killed_test_leaves_no_control_plane() {
    let test = "a_killed_test_leaves_no_control_plane";
    if or_skip(test, ControlPlane::can_start()).is_some() {
        leaves_nothing_when_killed("control plane");
    }
}

#[test]
fn a_killed_test_leaves_no_node() {
    let test = "a_killed_test_leaves_no_node";
    if or_skip(test, Node::can_start()).is_some() {
        leaves_nothing_when_killed("node");
    }
}

#[test]
#[ignore = "the process that the tests before it start and kill"]
fn child_that_holds_a_cluster_until_killed() {
    let hold = |folder: PathBuf| {
        println!("begun {}", folder.display());
        std::thread::sleep(Duration::from_secs(600));
    };
    match std::env::var(HOLD).as_deref() {
        Ok("control plane") => hold(folder_of(&ControlPlane::start().unwrap())),
        Ok("node") => {
            let node = Node::start().unwrap();
            import_web(&node);
            node.plane().apply(WEB).unwrap();
            let done = ["rollout", "status", "deployment/web", "--timeout=60s"];
            node.plane().kubectl(&done).unwrap();
            hold(folder_of(node.plane()));
        }
        _ => {}
    }
}
