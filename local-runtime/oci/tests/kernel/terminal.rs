//! Terminals: the master comes out through the console socket, the rest stays in the container.

use std::fs::File;
use std::io::{IoSliceMut, IsTerminal, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use super::bundle::{Bundle, text};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;

#[test]
fn a_created_container_has_its_terminal() {
    let Some(bundle) = Bundle::new("a_created_container_has_its_terminal") else {
        return;
    };
    let socket = console_socket(&bundle);
    bundle.write_changed(&bundle.params(&["terminal"]), |config| {
        config["process"]["terminal"] = true.into();
        config["process"]["consoleSize"] = json!({"height": 25, "width": 90});
        config["process"]["user"]["uid"] = 1000.into();
    });
    bundle.ok(&["create", "--console-socket", "console", "{id}"]);
    let mut master = receive(&socket);
    assert!(master.is_terminal(), "the master is a terminal");
    bundle.ok(&["start", "{id}"]);
    let seen = read_until(&mut master, "controlling");
    for (line, reason) in [
        (
            "terminal /dev/pts/0 of user 1000",
            "a terminal of the container's own devpts",
        ),
        ("size 25x90", "as the configuration has it"),
        ("console is it", "/dev/console is the same terminal"),
        (
            "leader 1 foreground 1",
            "the process leads its session, in the foreground",
        ),
        ("controlling yes", "and has it as its controlling terminal"),
    ] {
        assert!(seen.contains(line), "{reason}: no `{line}` in {seen}");
    }
    bundle.wait_until_stopped();
}

#[test]
fn keys_become_signals() {
    let Some(bundle) = Bundle::new("keys_become_signals") else {
        return;
    };
    let socket = console_socket(&bundle);
    bundle.write_changed(&bundle.params(&["wait"]), |config| {
        config["process"]["terminal"] = true.into()
    });
    bundle.ok(&["create", "--console-socket", "console", "{id}"]);
    let mut master = receive(&socket);
    bundle.ok(&["start", "{id}"]);
    read_until(&mut master, "waiting");
    assert_eq!(bundle.state()["status"], "running");
    master.write_all(INTERRUPT).unwrap();
    bundle.wait_until_stopped();
}

#[test]
fn a_guest_has_a_terminal_of_its_own() {
    let Some(bundle) = Bundle::new("a_guest_has_a_terminal_of_its_own") else {
        return;
    };
    bundle.start(&bundle.params(&["wait"]));
    let socket = console_socket(&bundle);
    let exec = |program: &[&str]| {
        let options = ["exec", "--tty", "--console-socket", "console", "--user", "1000", "{id}"];
        let mut child = bundle.command(&[&options, program].concat()).spawn().unwrap();
        let mut master = receive(&socket);
        let seen = read_until(
            &mut master,
            if program.contains(&"wait") {
                "waiting"
            } else {
                "controlling"
            },
        );
        if program.contains(&"wait") {
            master.write_all(INTERRUPT).unwrap();
        }
        (seen, child.wait().unwrap().code())
    };
    let (seen, code) = exec(&["see", "terminal"]);
    assert_eq!(code, Some(0));
    for line in [
        "terminal /dev/pts/0 of user 1000",
        "leader 1 foreground 1",
        "controlling yes",
    ] {
        assert!(seen.contains(line), "no `{line}` in {seen}");
    }
    assert_eq!(exec(&["see", "wait"]).1, Some(40 + libc::SIGINT));
    assert_eq!(bundle.state()["status"], "running", "the key was for the guest alone");
}

#[test]
fn a_terminal_and_its_socket_come_together() {
    let Some(bundle) = Bundle::new("a_terminal_and_its_socket_come_together") else {
        return;
    };
    let _socket = console_socket(&bundle);
    bundle.start(&bundle.params(&["wait"]));
    let needs_socket = "a terminal needs --console-socket";
    let needs_terminal = "--console-socket needs a process with `terminal`";
    let exec = bundle.refused(&["exec", "--tty", "{id}", "see"]);
    assert!(exec.contains(needs_socket), "{exec}");
    let exec = bundle.refused(&["exec", "--console-socket", "console", "{id}", "see"]);
    assert!(exec.contains(needs_terminal), "{exec}");
    bundle.ok(&["delete", "--force", "{id}"]);
    let create = bundle.refused(&["create", "--console-socket", "console", "{id}"]);
    assert!(create.contains(needs_terminal), "{create}");
    bundle.write_changed(&bundle.params(&[]), |config| {
        config["process"]["terminal"] = true.into()
    });
    let output = bundle.verb(&["run", "{id}"]);
    assert!(text(&output).contains(needs_socket), "{}", text(&output));
    let create = bundle.refused(&["create", "--console-socket", "missing", "{id}"]);
    assert!(create.contains("cannot connect to missing"), "{create}");
    bundle.assert_gone();
}

/// What a terminal makes of Ctrl-C.
const INTERRUPT: &[u8] = b"\x03";

fn console_socket(bundle: &Bundle) -> UnixListener {
    UnixListener::bind(bundle.path("console")).unwrap()
}

/// The descriptor that the runtime sends.
fn receive(socket: &UnixListener) -> File {
    let (stream, _) = socket.accept().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    recvmsg(
        &stream,
        &mut [IoSliceMut::new(&mut name)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .unwrap();
    let sent = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    sent.expect("a descriptor came with the message").into()
}

/// What the terminal shows, until a line with `word` is whole.
fn read_until(master: &mut File, word: &str) -> String {
    let begun = Instant::now();
    let mut seen = String::new();
    while !seen.rsplit_once(word).is_some_and(|(_, rest)| rest.contains('\n')) {
        assert!(begun.elapsed() < Duration::from_secs(10), "never `{word}`: {seen}");
        let mut bytes = [0; 4096];
        match master.read(&mut bytes) {
            Ok(length) => seen += &String::from_utf8_lossy(&bytes[..length]),
            // Nobody has the terminal open: not yet, or no more.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{}: {error}", master.as_raw_fd()),
        }
    }
    seen
}
