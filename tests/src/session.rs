//! Sessions: files that read like a terminal, run again by a test.
//!
//! ```text
//! # why this case is here
//! $ portolan validate
//! error[UnknownKey]: ...
//! exit 1
//! ```
//!
//! A `$` line is run in the session's folder, and what stands below it is what it must say: stdout, then stderr, then the exit
//! code unless it is 0. `PORTOLAN_REGENERATE=1` writes what was said anew. Paths, digests and times are filtered.

use std::fs;
use std::path::Path;

use regex::Regex;

use crate::home::Home;

/// Name of the session's file in its folder.
pub const FILE: &str = "session.txt";

/// Runs the session that `folder` holds in `copy`, a copy of the folder. Answers what it must say, and what it says.
pub fn run(folder: &Path, copy: &Path, home: &Home) -> (String, String) {
    let expected = fs::read_to_string(folder.join(FILE)).unwrap();
    let mut said = String::new();
    for line in expected.lines() {
        if line.starts_with("# ") {
            said.push_str(&format!("{line}\n"));
        } else if let Some(typed) = line.strip_prefix("$ ") {
            said.push_str(&format!("$ {typed}\n{}", command(typed, copy, home)));
        }
    }
    if std::env::var_os("PORTOLAN_REGENERATE").is_some() {
        fs::write(folder.join(FILE), &said).unwrap();
        return (said.clone(), said);
    }
    (expected, said)
}

fn command(typed: &str, folder: &Path, home: &Home) -> String {
    let arguments = typed.strip_prefix("portolan ").expect("a session runs portolan alone");
    let output = home.portolan(folder, arguments.split(' ')).output().unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    match output.status.code() {
        Some(0) => {}
        Some(code) => text.push_str(&format!("exit {code}\n")),
        None => text.push_str(&format!("{}\n", output.status)),
    }
    filtered(&text, folder, home)
}

/// Takes out what differs from run to run.
fn filtered(text: &str, folder: &Path, home: &Home) -> String {
    let folders = [
        (folder, "[HERE]"),
        (&home.portolan_home(), "[HOME]"),
        (home.path(), "[TEST]"),
    ];
    let text = folders.into_iter().fold(text.to_string(), |text, (path, word)| {
        text.replace(&path.display().to_string(), word)
    });
    let patterns = [
        (r"sha256:[0-9a-f]{64}", "sha256:[DIGEST]"),
        (r"\b\d+(\.\d+)? ?(ms|s)\b", "[TIME]"),
        (r"\(pid \d+\)|\bpid \d+", "pid [PID]"),
    ];
    patterns.into_iter().fold(text, |text, (pattern, word)| {
        Regex::new(pattern)
            .expect("a pattern of ours")
            .replace_all(&text, word)
            .into_owned()
    })
}
