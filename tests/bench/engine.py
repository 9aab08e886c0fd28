"""The engine over fleets of apps on the provider in memory: processor time and memory of what a controller does.

Every app has two services. The program `fleet` applies them all, and lets a controller that begins with their journal
look at each once; the clouds that it works on cost nothing but processor time, which is counted in.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from measure import ROOT, Figure

SIZES = [1_000, 10_000]
LARGEST = 100_000
# Of the largest fleet: what is neared, and no bound.
RESYNC_GOAL = "; goal: 30 s"
MEMORY_GOAL = "; goal: 1,024 MiB"


def measure(_programs, arguments):
    program = build()
    found = [run(program, size) for size in SIZES + ([LARGEST] if arguments.all else [])]
    figures = [figure for fleet in found for figure in of_fleet(fleet)]
    return figures + of_history(found[-1]["history"])


def build():
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "portolan-tests", "--bin", "fleet"]
    subprocess.run(command, cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/fleet"


def run(program, apps):
    done = subprocess.run([program, "--apps", str(apps)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def of_fleet(fleet):
    apps, applied, resync = fleet["apps"], fleet["apply"], fleet["resync"]
    of = f"{apps:,} apps"
    resync_goal, memory_goal = (RESYNC_GOAL, MEMORY_GOAL) if apps == LARGEST else ("", "")
    return [
        Figure(f"applies of {of}, a second of one core", apps / applied["cpuS"], "/s"),
        Figure(f"looks at {of} with nothing to do, a second of one core", apps / resync["cpuS"], "/s"),
        Figure(f"a look at all of {of}, processor time{resync_goal}", resync["cpuS"], "s"),
        Figure(f"memory of a controller of {of}{memory_goal}", resync["residentBytes"] / 2**20, "MiB"),
        Figure(f"from its start, with a full journal, to the first look of {of}", resync["firstLookS"] * 1e3, "ms"),
        Figure(f"journal of {of}, for each", applied["journalBytes"] / apps / 2**10, "KiB"),
    ]


def of_history(history):
    short, long = history
    grown = (long["journalBytes"] - short["journalBytes"]) / (long["generations"] - short["generations"])
    name = f"a look at an app of {long['generations']} generations, processor time"
    floor = f"the same after {short['generations']}"
    return [
        Figure(name, long["lookCpuS"] * 1e3, "ms", None, short["lookCpuS"] * 1e3, floor),
        Figure("the journal's growth with each further apply of an app", grown / 2**10, "KiB"),
    ]
