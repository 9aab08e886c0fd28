"""The simulation: how many steps of the engine a second of one core shows, invariants checked after each.

`simulate` runs random seeds, supervisors and all, and tells its rates by the wall; here they are counted by processor time.
"""

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from measure import ROOT, Figure

SEEDS = 4_000
RATES = re.compile(r"^(?P<runs>\d+) runs, (?P<per_s>\d+) runs/s, (?P<steps_per_s>\d+) steps/s .* (?P<violations>\d+) violations$")


def measure(_programs, _arguments):
    program = build()
    before, start = used(), time.monotonic()
    done = subprocess.run([program, "--seeds", str(SEEDS), "--jobs", "1"], stdout=subprocess.PIPE, text=True)
    wall, cpu = time.monotonic() - start, used() - before
    told = RATES.match(done.stdout.splitlines()[-1])
    if done.returncode != 0 or not told or int(told["violations"]) > 0:
        sys.exit(f"{program} ended with {done.returncode}: {done.stdout[-2_000:]}")
    of_a_core = wall / cpu
    return [
        Figure("runs of random seeds, a second of one core", int(told["per_s"]) * of_a_core, "/s"),
        Figure("steps of the engine in them, a second of one core; wanted: 100,000 /s", int(told["steps_per_s"]) * of_a_core, "/s"),
    ]


def used():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def build():
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "portolan-tests", "--bin", "simulate"]
    subprocess.run(command, cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/simulate"
