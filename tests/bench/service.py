"""Starting, changing and holding services: first output, change until served, memory and processor time at rest.

First output is the moment at which the program in the container prints, told by itself. The peer is `podman run --rm` of
the same files, turn by turn; ours begins with nothing running: `up` starts the supervisor and makes the network too.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import up
from measure import ROOT, Figure, Home, median, spread, turn_by_turn
from peers import Podman, install

CLOCK = r"""
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>
int main(int count, char **words) {
    struct timeval now;
    gettimeofday(&now, NULL);
    printf("%lld%06lld\n", (long long)now.tv_sec, (long long)now.tv_usec);
    fflush(stdout);
    while (count > 1) pause();
    return words[0] == NULL;
}
"""
IMAGE = "portolan.local/bench-clock:latest"

MANIFEST = """\
apiVersion: portolan.dev/v1alpha1
kind: App
metadata: {{name: clock}}
spec:
  services:
    clock: {{image: "{image}", command: [/clock, stay], stop: {{signal: SIGKILL}}, scale: {{min: {replicas}}}}}
"""

CONTAINERS = 10
START_S = 0.1
SETTLE_S = 5
REST_S = 30


def measure(programs, arguments):
    if os.geteuid() != 0:
        print("   skipped: the figures are those of root", file=sys.stderr)
        return []
    with Home(programs) as home:
        import_clock(home)
        figures = first_output(home, arguments.turns) + at_rest(home)
        up.import_base(home)
        return figures + change_until_served(home, max(3, arguments.turns // 3))


def import_clock(home):
    tree = home.path / "tree"
    tree.mkdir()
    subprocess.run(["gcc", "-O2", "-static", "-x", "c", "-", "-o", str(tree / "clock")], input=CLOCK, text=True, check=True)
    home.import_tree(tree, IMAGE)


def write_manifest(home, replicas):
    path = home.path / "clock.yaml"
    path.write_text(MANIFEST.format(image=IMAGE, replicas=replicas))
    return str(path)


def first_output(home, turns):
    if not install("podman", "runc", "netavark", "iptables"):
        print("   without a peer: podman cannot be installed", file=sys.stderr)
        ours = [first_output_ms(home) for _ in range(turns)]
        return [Figure(FIRST_OUTPUT, median(ours), "ms", spread=spread(ours))]
    with Podman() as podman:
        podman.import_tree(home.path / "tree", "clock")
        podman_times_ms(podman)  # makes its bridge
        results = turn_by_turn(turns, ours=lambda: first_output_ms(home), podman=lambda: podman_times_ms(podman))
    ours = results["ours"]
    peer, whole = zip(*results["podman"])
    return [
        Figure(FIRST_OUTPUT, median(ours), "ms", median(peer) / 5, None, "", spread(ours)),
        Figure("the same by `podman run --rm`", median(peer), "ms", spread=spread(peer)),
        Figure("first output, as a share of podman's", median(ours) / median(peer) * 100, "%"),
        Figure("`podman run --rm` of it, from start to end", median(whole), "ms", spread=spread(whole)),
        Figure("first output, as a share of podman's whole run", median(ours) / median(whole) * 100, "%"),
    ]


FIRST_OUTPUT = "cached image to first output of a service, by `up` from nothing; bound: a fifth of podman"


def first_output_ms(home):
    manifest = write_manifest(home, 1)
    begun = time.time()
    home.portolan("up", "--no-wait", "-f", manifest)
    # Whoever asks for what it prints would take the processor away that it starts on.
    time.sleep(START_S)
    try:
        return int(first_line(home, manifest)) / 1e3 - begun * 1e3
    finally:
        home.portolan("delete", "--yes", "-f", manifest)


def first_line(home, manifest):
    for _ in range(1000):
        lines = home.output("logs", "-o", "json", "--file", manifest).splitlines()
        if lines:
            return json.loads(lines[0])["text"]
        time.sleep(0.005)
    sys.exit("the service has not printed anything")


def podman_times_ms(podman):
    """Until its first output, and until it has ended and tidied up."""
    begun = time.time()
    printed = int(podman.output("run", "--rm", "clock", "/clock"))
    return printed / 1e3 - begun * 1e3, (time.time() - begun) * 1e3


def at_rest(home):
    manifest = write_manifest(home, CONTAINERS)
    home.portolan("up", "-f", manifest)
    try:
        time.sleep(SETTLE_S)
        ours = supervisors(home)
        before, begun = sum(map(processor_s, ours)), time.monotonic()
        time.sleep(REST_S)
        used = (sum(map(processor_s, ours)) - before) / (time.monotonic() - begun)
        memory = sum(map(proportional_kib, ours)) / 1024
    finally:
        home.portolan("delete", "--yes", "-f", manifest)
    return [
        Figure(f"memory of an app's own processes with {CONTAINERS} containers, shared pages in proportion", memory, "MiB", 10.0),
        Figure(f"their processor time at rest, of one core, over {REST_S} s", used * 100, "%", 0.1),
    ]


def supervisors(home):
    """Every process of ours that serves an app of this home."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"portolan-supervisor") and any(bytes(home.path) in word for word in words):
            found.append(folder)
    return found or sys.exit("no supervisor runs")


def processor_s(process):
    """By the clock that clock_getcpuclockid(3) finds: to the nanosecond, where /proc counts hundredths of a second."""
    return time.clock_gettime(~int(process.name) << 3 | 2)


def proportional_kib(process):
    lines = (process / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def change_until_served(home, turns):
    """The same change is built alone, as another image, so that its time can be taken off."""
    folders = [Path(shutil.copytree(ROOT / "examples/hello", home.path / name)) for name in ("hello", "alone")]
    home.portolan("up", "-f", str(folders[0]))
    try:
        results = turn_by_turn(turns, served=lambda: served_ms(home, folders[0]), build=lambda: build_ms(home, folders[1]))
    finally:
        home.portolan("delete", "--yes", "-f", str(folders[0]))
    served, build = results["served"], results["build"]
    name = "`up` of a changed single-file service, until served; bound: build + 0.5 s"
    return [Figure(name, median(served), "ms", median(build) + 500, median(build), "`build` of such a change", spread(served))]


def served_ms(home, folder):
    word = change(folder)
    begun = time.monotonic()
    command = subprocess.Popen([home.programs.portolan(), "up", "-f", str(folder)], env=home.environment, stderr=subprocess.DEVNULL)
    while word not in answer():
        if command.poll() not in (None, 0):
            sys.exit(f"`up` ended with {command.returncode}")
        time.sleep(0.002)
    served = time.monotonic() - begun
    command.wait()
    return served * 1e3


def answer():
    with urllib.request.urlopen("http://127.0.0.1:8090/", timeout=5) as response:
        return response.read().decode()


def build_ms(home, folder):
    change(folder)
    return home.portolan("build", "-f", str(folder)).wall_ms


def change(folder):
    """Another greeting, as nobody has built it before."""
    word = f"hello-{time.time_ns()}"
    source = (ROOT / "examples/hello/hello.c").read_text()
    (folder / "hello.c").write_text(source.replace("hello from", f"{word} from"))
    return word
