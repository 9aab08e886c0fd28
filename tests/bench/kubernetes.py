"""The operator over a fleet of Apps on a real API server: what it adds to what their objects take anyway.

Each App is a service of two replicas with a port: a Deployment, a Service, a NetworkPolicy, a ServiceAccount and a PodDisruptionBudget. The nodes
are KWOK's, and API server, controller manager, scheduler and KWOK share the machine with the operator. The ceiling is a plain
client, 16 requests at a time, that applies the same objects to another such control plane in the same run; nothing writes
status or Events there, and nobody asks whether a name is free. Both alternate, and of what is compared the middle one of
three rounds is shown: from one round to the next the same applies take up to a quarter longer. What is not compared is
measured once, for it takes minutes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from measure import ROOT, Figure

APPS = 1_000
CONVERGED = 5_000
ROUNDS = 3
# At least 0.8 of the ceiling's rate.
LONGEST = 1 / 0.8


def measure(programs, _arguments):
    sizes = ["--apps", str(APPS), "--converged", str(CONVERGED), "--rounds", str(ROUNDS)]
    done = subprocess.run([build(), *sizes, "--program", programs.portolan()], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"the fleet ended with {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    return figures(found["rounds"], found["operator"])


def build():
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "portolan-operator", "--example", "fleet"]
    subprocess.run(command, cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/fleet"


def figures(rounds, found):
    restart, converged, resync = (found[part] for part in ("restart", "converged", "resync"))
    ceiling = {part: median(one["ceiling"][part] for one in rounds) for part in ("existS", "readyS")}
    came = {part: median(one["apps"][part] for one in rounds) for part in ("existS", "readyS", "cpuS")}
    longer = {part: median(one["apps"][part] / one["ceiling"][part] for one in rounds) for part in ceiling}
    asked = {part: median(one["apps"]["asked"][part] for one in rounds) / APPS for part in ("reads", "writes")}
    of, all_of = f"{APPS:,} new Apps", f"{CONVERGED:,} converged Apps"
    plain = "a plain client's applies"
    kib = (found["residentBytes"] - found["emptyBytes"]) / CONVERGED / 2**10
    return [
        Figure(f"{of}, until all objects exist", came["existS"], "s", None, ceiling["existS"], plain),
        Figure("as many times as long as the ceiling of its round", longer["existS"], "", LONGEST),
        Figure(f"{of}, until all are Ready", came["readyS"], "s", None, ceiling["readyS"], f"{plain}, until all are available"),
        Figure("as many times as long as the ceiling of its round", longer["readyS"], "", LONGEST),
        Figure(f"{of}, processor time of the operator", came["cpuS"], "s", 10),
        Figure("requests of the operator for each of them, reads", asked["reads"], ""),
        Figure("requests of the operator for each of them, writes", asked["writes"], ""),
        Figure(f"a restart among {APPS:,} converged Apps, until all are known", restart["knownS"], "s"),
        Figure("its processor time", restart["cpuS"], "s", 3),
        Figure("its writes", restart["asked"]["writes"], "", 0),
        Figure(f"{all_of}, memory for each; goal: 10 KiB", kib, "KiB"),
        Figure("memory of the operator with one App", found["emptyBytes"] / 2**20, "MiB"),
        Figure(f"a start among {all_of}, until all are known; goal: 30 s", converged["knownS"], "s"),
        Figure("its processor time", converged["cpuS"], "s"),
        Figure("its reads, lists and watches' beginnings aside from leases", converged["asked"]["reads"], ""),
        Figure("its writes", converged["asked"]["writes"], "", 0),
        Figure(f"a resync of {all_of}, processor time", resync["cpuS"] / max(resync["looks"], 1) * CONVERGED, "s"),
        Figure("its reads; goal: 0", resync["asked"]["reads"] / max(resync["looks"], 1) * CONVERGED, ""),
        Figure("its writes", resync["asked"]["writes"] / max(resync["looks"], 1) * CONVERGED, "", 0),
    ]
