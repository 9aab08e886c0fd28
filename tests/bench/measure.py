"""Running programs and counting what they use."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BASE_IMAGE = "portolan.local/base:latest"


@dataclass
class Figure:
    """One line of the table. `bound` is what the value may be at most, in the same unit."""

    name: str
    value: float
    unit: str
    bound: float | None = None
    floor: float | None = None
    floor_is: str = ""
    spread: tuple | None = None

    def is_broken(self):
        return self.bound is not None and self.value > self.bound


@dataclass
class Use:
    """What one run of a program used."""

    wall_ms: float
    cpu_ms: float
    code: int


class Programs:
    """Our programs: those of target/release, or of the folder that was named, or of the build benchmark."""

    def __init__(self, folder):
        self.folder = folder or Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"

    def portolan(self):
        path = self.folder / "portolan"
        if not path.is_file():
            sys.exit(f"there is no {path}: build it as README.md says, or run with --all")
        return str(path)


class Home:
    """A PORTOLAN_HOME that is gone with the benchmark."""

    def __init__(self, programs):
        self.programs = programs

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="portolan-bench-")
        self.path = Path(self.folder.name)
        self.environment = {**os.environ, "PORTOLAN_HOME": str(self.path / "home"), "NO_COLOR": "1"}
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def portolan(self, *arguments, codes=(0,)):
        return use_of([self.programs.portolan(), *arguments], self.environment, codes)

    def output(self, *arguments):
        command = [self.programs.portolan(), *arguments]
        return subprocess.run(command, env=self.environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    def import_tree(self, tree, name):
        self.portolan("image", "import", "--name", name, str(tree))


def use_of(command, environment=None, codes=(0,)):
    """Runs a program to its end; counts its time and that of the children it waited for. Other exit codes end the benchmark."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            said.seek(0)
            text = said.read().decode(errors="replace")
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{text[-4000:]}")
    return Use(wall * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3, process.returncode)


def turn_by_turn(turns, **measurements):
    """Each measurement once a turn, so that a slow minute of the machine meets all of them. Lists by name."""
    results = {name: [] for name in measurements}
    for _ in range(turns):
        for name, measurement in measurements.items():
            results[name].append(measurement())
    return results


def median(values):
    return statistics.median(values)


def spread(values):
    """From the lower to the upper quartile."""
    if len(values) < 4:
        return (min(values), max(values))
    quartiles = statistics.quantiles(values, n=4)
    return (quartiles[0], quartiles[2])
