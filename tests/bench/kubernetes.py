"""The operator over a fleet of Apps on a real API server: what it adds to what their objects take anyway.

Each App is a service of two replicas with a port: a Deployment, a Service, a NetworkPolicy, a ServiceAccount and a PodDisruptionBudget. The nodes
are KWOK's, and API server, controller manager, scheduler and KWOK share the machine with the operator. The ceiling is a plain
client, 16 requests at a time, that applies the same objects to another such control plane in the same run; nothing writes
status or Events there, and nobody asks whether a name is free. One run each: they take minutes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from measure import ROOT, Figure

APPS = 1_000
CONVERGED = 5_000


def measure(programs, _arguments):
    done = subprocess.run([build(), "--apps", str(APPS), "--converged", str(CONVERGED), "--program", programs.portolan()],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"the fleet ended with {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    return figures(found["ceiling"], found["operator"])


def build():
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "portolan-operator", "--example", "fleet"]
    subprocess.run(command, cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/fleet"


def figures(ceiling, found):
    came, restart, converged, resync = (found[part] for part in ("apps", "restart", "converged", "resync"))
    of, all_of = f"{APPS:,} new Apps", f"{CONVERGED:,} converged Apps"
    plain = "a plain client's applies"
    kib = (found["residentBytes"] - found["emptyBytes"]) / CONVERGED / 2**10
    return [
        Figure(f"{of}, until all objects exist", came["existS"], "s", None, ceiling["existS"], plain),
        Figure("the ceiling's rate that this is; goal: at least 80 %", 100 * ceiling["existS"] / came["existS"], "%"),
        Figure(f"{of}, until all are Ready", came["readyS"], "s", None, ceiling["readyS"], f"{plain}, until all are available"),
        Figure("the ceiling's rate that this is; goal: at least 80 %", 100 * ceiling["readyS"] / came["readyS"], "%"),
        Figure(f"{of}, processor time of the operator; goal: 10 s", came["cpuS"], "s"),
        Figure("requests of the operator for each of them, reads", came["asked"]["reads"] / APPS, ""),
        Figure("requests of the operator for each of them, writes", came["asked"]["writes"] / APPS, ""),
        Figure(f"a restart among {APPS:,} converged Apps, until all are known", restart["knownS"], "s"),
        Figure("its processor time; goal: 3 s", restart["cpuS"], "s"),
        Figure("its writes; goal: 0", restart["asked"]["writes"], ""),
        Figure(f"{all_of}, memory for each; goal: 10 KiB", kib, "KiB"),
        Figure("memory of the operator with one App", found["emptyBytes"] / 2**20, "MiB"),
        Figure(f"a start among {all_of}, until all are known; goal: 30 s", converged["knownS"], "s"),
        Figure("its processor time", converged["cpuS"], "s"),
        Figure("its reads, lists and watches' beginnings aside from leases", converged["asked"]["reads"], ""),
        Figure("its writes; goal: 0", converged["asked"]["writes"], ""),
        Figure(f"a resync of {all_of}, processor time", resync["cpuS"] / max(resync["looks"], 1) * CONVERGED, "s"),
        Figure("its reads; goal: 0", resync["asked"]["reads"] / max(resync["looks"], 1) * CONVERGED, ""),
        Figure("its writes; goal: 0", resync["asked"]["writes"] / max(resync["looks"], 1) * CONVERGED, ""),
    ]
