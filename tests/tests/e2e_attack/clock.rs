//! A clock that is wrong, and one that jumps.

use std::fs;
use std::path::PathBuf;

use portolan_tests::{is_root, skip};
use serde_json::Value;

use crate::hello::{hello, is_as_desired, pids, sail};

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let test = "a_clock_that_jumps_changes_nothing";
    if !is_root() {
        return skip(test, "containers are started by root");
    }
    let Some(library) = faketime() else {
        return skip(test, "libfaketime is not there");
    };
    let hello = hello(18_306);
    let containers = pids(&hello, "hello");
    for offset in ["+400d", "-3000d", "+0 x100", "-1h"] {
        let mut command = hello.home.portolan(&hello.folder, ["up", "-o", "json"]);
        command
            .env("LD_PRELOAD", &library)
            .env("FAKETIME", offset)
            .env("FAKETIME_NO_CACHE", "1");
        let output = command.output().unwrap();
        let said = portolan_tests::home::said(&output);
        assert_eq!(output.status.code(), Some(0), "{offset}: {said}");
        let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(reports[0]["outcome"], "converged", "{offset}: {said}");
        assert_eq!(pids(&hello, "hello"), containers, "{offset}: nothing was to be done");
        is_as_desired(&hello, 18_306, offset);
    }
    // A change is made under a clock that is wrong as under one that is right.
    sail(&hello, 0);
    let mut command = hello.home.portolan(&hello.folder, ["up"]);
    command.env("LD_PRELOAD", &library).env("FAKETIME", "-3000d");
    assert!(command.output().unwrap().status.success());
    is_as_desired(&hello, 18_306, "changed in the past");
}

fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.exists())
}
