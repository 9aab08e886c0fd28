"""Debian's podman as a peer, in folders of its own: nothing of it stays on the machine, and nothing of the machine is used."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# What podman needs where cgroups of both versions are mounted and limits cannot be raised.
CONTAINERS_CONF = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
[network]
network_backend = "netavark"
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
"""

# Its locks and counters lie in fixed places, its bridge and rules in the network: all are covered, for as long as it is used.
ASIDE = 'mount -t tmpfs none /run && mount -t tmpfs none /var/lib && echo ready && exec sleep infinity'


class Podman:
    """Its own store with overlayfs and its own network with a bridge, as it is installed by default."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="portolan-bench-podman-")
        path = Path(self.folder.name)
        (path / "containers.conf").write_text(CONTAINERS_CONF)
        self.environment = {**os.environ, "CONTAINERS_CONF": str(path / "containers.conf")}
        self.holder = subprocess.Popen(["unshare", "--mount", "--net", "sh", "-c", ASIDE], stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        places = ["--root", path / "store", "--runroot", path / "run", "--tmpdir", path / "tmp"]
        inside = ["nsenter", f"--target={self.holder.pid}", "--mount", "--net"]
        self.command = [*inside, "podman", *map(str, places), "--storage-driver", "overlay"]
        return self

    def __exit__(self, *_):
        self.holder.kill()
        self.holder.wait()
        self.folder.cleanup()
        for top in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]:
            for left in ["libpod_parent/conmon", "libpod_parent"]:
                try:
                    (top / left).rmdir()
                except OSError:
                    pass  # not there, or somebody else's podman uses it

    def output(self, *words, input=None):
        done = subprocess.run([*self.command, *words], env=self.environment, input=input, stdout=subprocess.PIPE, check=True)
        return done.stdout

    def import_tree(self, tree, name):
        packed = subprocess.run(["tar", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE, check=True).stdout
        self.output("import", "--quiet", "-", name, input=packed)


def install(*packages):
    """Debian packages, where that is possible; whether all of them are there."""
    if all(is_installed(package) for package in packages):
        return True
    if not shutil.which("apt-get"):
        return False
    command = ["apt-get", "-qq", "--yes", "--no-install-recommends", "install", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    return subprocess.run(command, env=environment, stdout=sys.stderr).returncode == 0


def is_installed(package):
    words = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return bool(shutil.which("dpkg-query")) and subprocess.run(words, capture_output=True, text=True).stdout == "installed"
