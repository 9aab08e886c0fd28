//! Somebody who asks without a pause, in the node's network, and counts what he is not answered.

use std::io::Write;
use std::process::{Child, Stdio};

use crate::harbour::Harbour;

/// Whether a connection serves many requests or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Open,
    Closed,
}

/// So many connections at once, each with a breath between two requests: the machine has others to serve.
const SCRIPT: &str = "function delay() return 10 end\n";
const CONNECTIONS: &str = "4";

/// Runs wrk until its standard input ends; longer than any test it does not run. How slow an answer is shows nothing here.
const UNTIL_TOLD: &str = r#"
wrk --threads 1 --connections "$1" --duration 1h --timeout 60s --script "$2" ${3:+--header "$3"} "$4" &
read -r _
kill -s INT $!
wait $!
"#;

/// Does `work` while somebody asks for `path`, and panics where he was not answered once.
pub fn while_asked<T>(harbour: &Harbour, kept: Kept, work: impl FnOnce() -> T) -> T {
    let wrk = Wrk::start(harbour, kept);
    let done = work();
    let report = wrk.end();
    println!("{kept:?}: {}", report.split_whitespace().collect::<Vec<_>>().join(" "));
    assert!(report.contains("requests in"), "{report}");
    assert!(!report.contains(" 0 requests in"), "{report}");
    for fault in ["Socket errors", "Non-2xx"] {
        assert!(!report.contains(fault), "connections are {kept:?}: {report}");
    }
    done
}

struct Wrk(Child);

impl Wrk {
    fn start(harbour: &Harbour, kept: Kept) -> Self {
        let script = harbour.home.path().join("delay.lua");
        std::fs::write(&script, SCRIPT).unwrap();
        let header = match kept {
            Kept::Open => "",
            Kept::Closed => "Connection: close",
        };
        let mut command = harbour.node.command("sh");
        command.args(["-c", UNTIL_TOLD, "load", CONNECTIONS]).arg(script);
        command.args([header, &format!("{}/whoami", harbour.address())]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        Self(command.spawn().unwrap())
    }

    /// Tells it to end; what it says then.
    fn end(mut self) -> String {
        let mut input = self.0.stdin.take().expect("it was given a pipe");
        input.write_all(b"\n").unwrap();
        drop(input);
        let mut output = self.0.stdout.take().expect("it was given a pipe");
        std::io::read_to_string(&mut output).unwrap()
    }
}

/// Its input ends with it, and with that wrk.
impl Drop for Wrk {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        _ = self.0.wait();
    }
}
