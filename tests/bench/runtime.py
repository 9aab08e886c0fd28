"""Processor time of running a container that does nothing: `portolan-runtime`, crun and runc, on both versions of cgroups.

The container is OCI's default: all namespaces, what `runc spec` mounts and masks, a cgroup, and the filter of Debian's
container tools. The floor is a program that asks the kernel for the same (`floor.c`). Each version of cgroups is seen in a
mount namespace of its own, as crun does not go on with both mounted; nothing of the machine's changes.
"""

import ctypes
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Figure, median, spread, turn_by_turn, use_of
from peers import install

# At most this part of what crun of Debian 12 takes.
PART = 0.8

VIEWS = {
    "v1": ["mount", "-t", "tmpfs", "-o", "size=0", "none", "/sys/fs/cgroup/unified"],
    "v2": ["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"],
}

# Where limits cannot be raised crun ends at this call, which newer kernels do not need any more.
NO_LIMIT = """\
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
int setrlimit(__rlimit_resource_t which, const struct rlimit *limit) {
    return which == RLIMIT_MEMLOCK ? 0 : syscall(SYS_prlimit64, 0, which, limit, 0);
}
"""

CLONE_NEWNS = 0x20000


def measure(programs, arguments):
    if os.geteuid() != 0:
        print("   skipped: the figures are those of root", file=sys.stderr)
        return []
    if not install("runc", "golang-github-containers-common"):
        print("   skipped: the default configuration and filter are those of Debian's packages", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory(prefix="portolan-bench-runtime-") as folder:
        bench = Bench(Path(folder), programs, max(arguments.turns, 15))
        return [figure for view in VIEWS for figure in in_view(view, lambda: bench.figures(view))]


class Bench:
    def __init__(self, folder, programs, turns):
        self.folder, self.turns = folder, turns
        (folder / "state").mkdir()
        ours = programs.folder / "portolan-runtime"
        self.runtimes = {"portolan-runtime": [str(ours)], "runc": [shutil.which("runc") or "/usr/sbin/runc"]}
        if crun := unpack_crun(folder):
            self.runtimes["crun"] = crun
        compile_static(Path(__file__).with_name("floor.c"), folder / "floor")
        self.bundles = {kind: self.make_bundle(kind) for kind in ["filtered", "plain"]}

    def make_bundle(self, kind):
        bundle = self.folder / kind
        for folder in ["bin", "proc", "dev", "sys"]:
            (bundle / "rootfs" / folder).mkdir(parents=True)
        (self.folder / "true.c").write_text("int main(void) { return 0; }\n")
        compile_static(self.folder / "true.c", bundle / "rootfs/bin/true")
        subprocess.run([*self.runtimes["runc"], "spec", "--bundle", str(bundle)], check=True)
        config = json.loads((bundle / "config.json").read_text())
        config["process"] |= {"terminal": False, "args": ["/bin/true"]}
        config["root"]["readonly"] = False
        if not any(namespace["type"] == "cgroup" for namespace in config["linux"]["namespaces"]):
            config["linux"]["namespaces"].append({"type": "cgroup"})
        if kind == "filtered":
            config["linux"]["seccomp"] = default_filter(config["process"]["capabilities"]["bounding"])
        (bundle / "config.json").write_text(json.dumps(config))
        return bundle

    def figures(self, view):
        # As /run is, where runtimes keep their state.
        subprocess.run(["mount", "-t", "tmpfs", "none", str(self.folder / "state")], check=True)
        floor = [str(self.folder / "floor"), str(self.folder / "filtered/rootfs"), "/bin/true", *hierarchies_of(view)]
        names = [name for name in self.runtimes if self.works(name)]
        runs = {f"{name} {kind}": self.run_of(name, kind) for name in names for kind in self.bundles}
        results = turn_by_turn(self.turns, floor=lambda: use_of(floor), **runs)
        cpu = {name: [use.cpu_ms for use in uses] for name, uses in results.items()}
        return [figure(view, name, kind, cpu) for name in names for kind in self.bundles]

    def run_of(self, name, kind):
        words = ["--root", str(self.folder / "state" / name), "run", "--bundle", str(self.bundles[kind]), f"{name}-{kind}"]
        return lambda: use_of([*self.runtimes[name], *words])

    def works(self, name):
        """Whether it runs here at all: one turn that is not counted."""
        try:
            for kind in self.bundles:
                self.run_of(name, kind)()
        except SystemExit as failed:
            if name == "portolan-runtime":
                raise
            print(f"   without {name}: {failed}", file=sys.stderr)
            return False
        return True


def figure(view, name, kind, cpu):
    filtered = "" if kind == "filtered" else ", without a filter"
    title = f"`{name} run` of a container{filtered}, cgroup {view}, processor time"
    values, of_crun = cpu[f"{name} {kind}"], cpu.get(f"crun {kind}")
    bound = PART * median(of_crun) if of_crun and name == "portolan-runtime" else None
    floor_is = "the same system calls in C"
    return Figure(title, median(values), "ms", bound, median(cpu["floor"]), floor_is, spread(values))


def unpack_crun(folder):
    """Its command. It is not installed: podman takes crun for its runtime as soon as it finds it, also where it fails."""
    fetched = install("libyajl2") and subprocess.run(["apt-get", "-qq", "download", "crun"], cwd=folder).returncode == 0
    if not fetched:
        return None
    subprocess.run(["dpkg", "-x", str(next(folder.glob("crun_*.deb"))), str(folder / "crun")], check=True)
    program = str(folder / "crun/usr/bin/crun")
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if most == resource.RLIM_INFINITY:
        return [program]
    (folder / "limit.c").write_text(NO_LIMIT)
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", folder / "limit.so", folder / "limit.c"], check=True)
    return ["env", f"LD_PRELOAD={folder / 'limit.so'}", program]


def default_filter(capabilities):
    """The filter that Debian's container tools give to a container with these capabilities, for this processor."""
    processor = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    profile = json.loads(Path("/usr/share/containers/seccomp.json").read_text())
    held = lambda condition: not set(condition.get("caps") or []) - set(capabilities)
    here = lambda condition: not condition.get("arches") or processor in condition["arches"]
    calls = []
    for entry in profile["syscalls"]:
        includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
        excluded = excludes.get("caps") and held(excludes)
        if held(includes) and here(includes) and not excluded:
            calls.append({key: entry[key] for key in ["names", "action", "args", "errnoRet"] if entry.get(key) is not None})
    native = {"amd64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "arm64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]}
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": native[processor], "syscalls": calls}


def compile_static(source, program):
    subprocess.run(["gcc", "-O2", "-static", "-o", str(program), str(source)], check=True)


def hierarchies_of(view):
    top = Path("/sys/fs/cgroup")
    if view == "v2":
        return [str(top)]
    return [str(one) for one in sorted(top.iterdir()) if not one.is_symlink() and (one / "tasks").exists()]


def in_view(view, function):
    """What the function answers in a process of its own, for which the machine has this version of cgroups alone."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = function() if enter_view(view) else []
        except SystemExit as failed:
            answer = failed
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pickle.load(pipe)
    os.waitpid(child, 0)
    if isinstance(answer, SystemExit):
        raise answer
    return answer


def enter_view(view):
    if ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        sys.exit("cannot make a mount namespace")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    if view == "v1" and not Path("/sys/fs/cgroup/unified").exists():
        print("   cgroup v1: not on this machine", file=sys.stderr)
        return False
    subprocess.run(VIEWS[view], check=True)
    return True
