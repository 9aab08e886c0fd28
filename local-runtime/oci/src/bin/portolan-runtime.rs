//! The program `portolan-runtime`: `run` a bundle in the foreground. Arguments are read by hand and nothing is started
//! that a container does not need: this program's own start is paid for by every container.
//!
//! Exit codes: the process's own, 128 + N after signal N; 125 if the container could not be run; 64 on wrong arguments.

use std::path::PathBuf;
use std::process::ExitCode;

use portolan_oci::error::chain;

const USAGE: &str = "usage: portolan-runtime run [--bundle DIR]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let bundle = match words.as_slice() {
        ["run"] => PathBuf::from("."),
        ["run", "--bundle", bundle] => PathBuf::from(bundle),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match portolan_oci::run::run(&bundle) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("portolan-runtime: {}", chain(&error));
            ExitCode::from(125)
        }
    }
}
