"""Clean release build of the local-only command line on two cores, and the sizes of the programs.

The floor is a program that prints one line, built in the same way with the same profile. Dependencies are fetched before,
so that no network is measured.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import ROOT, Figure, use_of

NAMES = ["portolan", "portolan-supervisor", "portolan-runtime"]
PACKAGES = ["-p", "portolan-cli", "-p", "portolan-supervisor", "-p", "portolan-oci"]
CORES = 2

HELLO = """\
[package]
name = "hello"
edition = "2024"

[profile.release]
lto = "thin"
codegen-units = 4
strip = "debuginfo"

[workspace]
"""


def measure(programs, _arguments):
    subprocess.run(["cargo", "fetch", "--locked", "--quiet"], cwd=ROOT, check=True)
    kept = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "bench"
    with tempfile.TemporaryDirectory(prefix="portolan-bench-") as folder:
        floor, floor_size = build_hello(Path(folder))
        target = Path(folder) / "target"
        arguments = ["--no-default-features", "--features", "local", *PACKAGES]
        ours = cargo_build(ROOT / "Cargo.toml", target, ["--locked", *arguments])
        sizes = [(name, (target / "release" / name).stat().st_size) for name in NAMES]
        keep_programs(programs, target / "release", kept)
    mib = 1 << 20
    figures = [
        Figure(f"clean release build on {CORES} cores, wall time", ours.wall_ms / 1e3, "s", None, floor.wall_ms / 1e3, "a program of one line"),
        Figure("clean release build, processor time", ours.cpu_ms / 1e3, "s", None, floor.cpu_ms / 1e3, "a program of one line"),
    ]
    return figures + [
        Figure(f"size of `{name}`", size / mib, "MiB", None, floor_size / mib, "a program of one line") for name, size in sizes
    ]


def build_hello(folder):
    crate = folder / "hello"
    (crate / "src").mkdir(parents=True)
    (crate / "Cargo.toml").write_text(HELLO)
    (crate / "src/main.rs").write_text('fn main() { println!("hello"); }\n')
    use = cargo_build(crate / "Cargo.toml", crate / "target", [])
    return use, (crate / "target/release/hello").stat().st_size


def cargo_build(manifest, target, arguments):
    """On the first two cores that this process may use."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    if len(cores) < CORES:
        print(f"   this machine gives {len(cores)} core", file=sys.stderr)
    command = ["taskset", "--cpu-list", ",".join(map(str, cores)), "cargo", "build", "--release", "--offline", "--quiet"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_INCREMENTAL": "0"}
    return use_of([*command, "--manifest-path", str(manifest), *arguments], environment)


def keep_programs(programs, built, kept):
    """What was built is what the other benchmarks of this run measure."""
    kept.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        shutil.copy2(built / name, kept / name)
    programs.folder = kept
