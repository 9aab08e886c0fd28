//! Links a program of this folder statically and at fixed addresses, where this machine's C library allows that. A module of
//! the build scripts beside it.
//!
//! Each start of a container is some processes of ours, so the loader's work is paid for by every one: finding and mapping
//! three libraries, and relocating 60 pages of tables, is more than half of a short run (docs/decisions/0020). Cargo knows
//! `crt-static` only for a whole build, with all programs in it. Only the last step is needed, though: the standard library
//! asks the linker for shared libraries by name, and finds beneath those names what says to take the archives.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the standard library asks for, and the archives that have it. Those of the C library need each other.
const NAMES: [(&str, &str); 6] = [
    ("c", "GROUP(-l:libc.a -l:libgcc_eh.a -l:libgcc.a)"),
    ("gcc_s", "GROUP(-l:libgcc_eh.a -l:libgcc.a)"),
    ("m", "GROUP(-l:libm.a)"),
    ("rt", "GROUP(-l:librt.a)"),
    ("pthread", "GROUP(-l:libpthread.a)"),
    ("dl", "GROUP(-l:libdl.a)"),
];

const ARCHIVES: [&str; 7] = [
    "libc.a",
    "libm.a",
    "librt.a",
    "libpthread.a",
    "libdl.a",
    "libgcc.a",
    "libgcc_eh.a",
];

/// The program is the same where this cannot be done, and starts more slowly.
pub fn link(program: &str) {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../static_program.rs");
    if !(is_gnu_linux() && is_native() && ARCHIVES.iter().all(|archive| has(archive))) {
        return;
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("static");
    write_names(&folder).expect("cargo's folder can be written");
    for argument in ["-static", "-no-pie", &format!("-L{}", folder.display())] {
        println!("cargo::rustc-link-arg-bin={program}={argument}");
    }
}

fn is_gnu_linux() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu")
}

/// The compiler that is asked below is this machine's.
fn is_native() -> bool {
    env::var("HOST") == env::var("TARGET") && env::var_os("RUSTC_LINKER").is_none()
}

/// The compiler answers a path if it has the file, else the name alone.
fn has(archive: &str) -> bool {
    let answer = Command::new("cc").arg(format!("-print-file-name={archive}")).output();
    answer.is_ok_and(|answer| Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_absolute())
}

/// Linker scripts: text where a library is looked for (ld(1), "INPUT" and "GROUP").
fn write_names(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    NAMES
        .iter()
        .try_for_each(|(name, script)| fs::write(folder.join(format!("lib{name}.so")), script))
}
