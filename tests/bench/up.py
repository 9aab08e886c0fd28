"""`up` of the unchanged shop: wall and processor time, having observed.

The shop is brought up once, then `up` is typed again and again. The floors: the start of a program that does nothing, and
one request over a Unix socket to a server in this process.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time

from measure import BASE_IMAGE, ROOT, Figure, Home, median, spread, turn_by_turn, use_of

BOUND_MS = 150.0


def measure(programs, arguments):
    if os.geteuid() != 0:
        print("   skipped: containers are started by root", file=sys.stderr)
        return []
    with Home(programs) as home:
        import_base(home)
        shop = str(shutil.copytree(ROOT / "examples/shop", home.path / "shop"))
        first = home.portolan("up", "-f", shop)
        try:
            results = measure_unchanged(home, shop, arguments.turns)
        finally:
            home.portolan("delete", "--yes", "--volumes", "-f", shop)
    ups = results["up"]
    floor = median([use.wall_ms for use in results["start"]]) + median(results["request"])
    floor_cpu = median([use.cpu_ms for use in results["start"]])
    walls, cpus = [use.wall_ms for use in ups], [use.cpu_ms for use in ups]
    status = [use.wall_ms for use in results["status"]]
    floor_is = "start of `true` and one request over a Unix socket"
    return [
        Figure("`up` of the shop, built from nothing, wall time", first.wall_ms / 1e3, "s"),
        Figure("`up` of the unchanged shop, wall time", median(walls), "ms", BOUND_MS, floor, floor_is, spread(walls)),
        Figure("`up` of the unchanged shop, processor time", median(cpus), "ms", None, floor_cpu, "start of `true`", spread(cpus)),
        Figure("`status` of the shop, wall time", median(status), "ms", None, floor, floor_is, spread(status)),
    ]


def import_base(home):
    tree = home.path / "base"
    made = ["sh", str(ROOT / "examples/base/make.sh"), str(tree)]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    home.import_tree(tree, BASE_IMAGE)
    shutil.rmtree(tree)


def measure_unchanged(home, shop, turns):
    path = str(home.path / "echo")
    with Echo(path):
        return turn_by_turn(
            turns,
            start=lambda: use_of(["true"]),
            request=lambda: request_ms(path),
            up=lambda: home.portolan("up", "-f", shop),
            status=lambda: home.portolan("status", "-f", shop),
        )


class Echo:
    """Answers every connection on a Unix socket with what it sent."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                client.sendall(client.recv(4096))


def request_ms(path):
    start = time.monotonic()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"x" * 1000)
        client.recv(4096)
    return (time.monotonic() - start) * 1e3
