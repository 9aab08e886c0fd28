//! The layer of every test image: one static program, compiled once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder with `/bin/app`, `/etc/passwd` and an empty `/tmp`.
pub fn layer() -> PathBuf {
    static LAYER: OnceLock<PathBuf> = OnceLock::new();
    LAYER.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let layer = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layer");
    for name in ["bin", "etc", "tmp"] {
        fs::create_dir_all(layer.join(name)).unwrap();
    }
    fs::write(layer.join("etc/passwd"), "root:x:0:0::/:\napp:x:1000:1000::/:\n").unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/platform/program.c");
    // Statically, for there is no libc in the image; getaddrinfo warns that it may want one (not for /etc/hosts).
    let output = Command::new("gcc")
        .args(["-static", "-O1", "-w", "-o"])
        .arg(layer.join("bin/app"))
        .arg(source)
        .output();
    let output = output.expect("gcc is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    layer
}

/// `portolan-runtime` beside our own program; built if only this crate was.
pub fn runtime() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_portolan-supervisor")).with_file_name("portolan-runtime");
    if !path.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "portolan-oci", "--bins"])
            .status();
        assert!(built.unwrap().success(), "portolan-runtime cannot be built");
    }
    path
}
