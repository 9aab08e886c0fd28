"""Runs the test programs that cargo built and judges their skips; called by tests/run.

Those that mostly wait for clusters of their own come first, test by test and several at a time; the others follow, one after
the other. Each suite's output is kept
in target/suites/NAME.log and shown when it fails. The last line that this prints is `N passed, N failed, N skipped`. A test
that printed `SKIP name: reason` counts as skipped and never as passed.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SKIPS = ROOT / "tests/skips.txt"
# Longer than any suite takes on two loaded cores: what runs into it hangs.
LIMIT_S = {False: 2100, True: 5400}
# These start containers, networks and mounts, or measure the machine before and after: one test at a time.
SERIAL = re.compile(r"^(portolan-oci|portolan-supervisor|portolan-provider-local|portolan-image|portolan-tests|portolan-cluster)/(?!lib$)")
# These start a Kubernetes, which is built before the first of them runs.
KUBERNETES = re.compile(r"^(portolan-(cluster|operator|provider-kubernetes)/(?!lib$)|portolan-tests/e2e_kubernetes$)")

# Each test of these has a cluster of its own and waits for it most of the time.
APART = re.compile(r"^portolan-(operator/e2e|cluster/kubernetes)(-oldest)?$")
# Here all have one together.
TOGETHER = re.compile(r"^portolan-provider-kubernetes/conformance(-oldest)?$")
# They need a third of the processors when two run at a time on two of them.
AT_ONCE = 2 * os.cpu_count()
# What takes longest begins first, so that nobody waits for it at the end.
LONG = re.compile(r"^((shards|clusters|faults|commands|killed|role|walks|fleet|large)::|$)")
# So many of the slowest are told of.
SLOWEST = 12

# These ask the oracle of Amazon's rules, and a counterpart of its APIs, which are made before the first of them runs.
AMAZON = re.compile(r"^portolan-provider-ecs/oracle$")

# What of them runs against the oldest Kubernetes too, with --full.
OLDEST = {
    "portolan-provider-kubernetes/conformance": [],
    "portolan-operator/e2e": ["life::", "definitions::", "walks::a_canary", "versions::", "refusals::"],
}

RESULT = re.compile(r"^test (?P<name>\S+)(?: - should panic)? \.\.\. (?P<end>ok|FAILED|ignored)", re.M)
SUMMARY = re.compile(r"^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored", re.M)
SKIP = re.compile(r"^SKIP (?P<name>[^\s:]+(?:::[^\s:]+)*): (?P<reason>.+)$", re.M)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--listing", type=Path, required=True)
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    logs = target_folder() / "suites"
    logs.mkdir(parents=True, exist_ok=True)
    wanted = [suite for suite in suites(arguments.listing) if chosen(suite["name"], arguments.words)]
    if not wanted:
        sys.exit(f"no suite is named by {arguments.words}")
    if any(KUBERNETES.match(suite["name"]) for suite in wanted):
        build_kubernetes()
    if any(AMAZON.match(suite["name"]) for suite in wanted):
        make_oracle()
    passed, failed, skipped = 0, 0, {}
    if arguments.full and (named := [suite for suite in wanted if suite["name"] in OLDEST]):
        oldest = on_the_oldest(named)
        wanted += oldest
        skipped.update({} if oldest else {"oldest": "the oldest Kubernetes could not be built"})
    times = []
    for name, done in all_done(wanted, logs, arguments.full):
        passed += done["passed"]
        failed += done["failed"]
        skipped.update(done["skipped"])
        times += done.get("tests", [(done["seconds"], name)])
        print(line(name, done), flush=True)
        if done["failed"]:
            print(indented(done["output"]), flush=True)
    failed += judge(skipped)
    tell_slowest(times)
    print(f"{passed} passed, {failed} failed, {len(skipped)} skipped")
    sys.exit(1 if failed else 0)


def suites(listing):
    """The test programs in cargo's messages, in order of crate and name, and at the end the examples in doc comments."""
    found = {}
    for text in listing.read_text().splitlines():
        message = json.loads(text)
        if message.get("reason") != "compiler-artifact" or not message["profile"]["test"] or not message["executable"]:
            continue
        folder = Path(message["manifest_path"]).parent
        target = message["target"]
        name = f"{crate(message['package_id'])}/{'lib' if 'lib' in target['kind'] else target['name']}"
        command = [message["executable"], "--show-output"]
        found[name] = {"name": name, "command": command, "folder": folder, "libtest": True}
    ordered = [found[name] for name in sorted(found, key=lambda name: (name.startswith("portolan-tests/"), name))]
    doc = ["cargo", "test", "--workspace", "--doc", "--locked", "--quiet", "--no-fail-fast"]
    return ordered + [{"name": "doc", "command": doc, "folder": ROOT, "libtest": False}]


def crate(package_id):
    """`path+file:///x/core#portolan-core@0.1.0` -> `portolan-core`; the name is left out where the folder has it."""
    path, _, fragment = package_id.partition("#")
    name, at, _ = fragment.rpartition("@")
    return name if at else path.rsplit("/", 1)[-1]


def chosen(name, words):
    return not words or any(word in name for word in words)


def build_kubernetes():
    """Where it cannot be built the tests that want it say so, one by one."""
    start = time.monotonic()
    done = subprocess.run([ROOT / "tests/kubetools/build", "control-plane", "node"], stdout=subprocess.PIPE, text=True)
    for script in ["definitions", "helm"]:
        subprocess.run([ROOT / "tests/kubetools" / script], stdout=subprocess.DEVNULL)
    place = f"in {done.stdout.strip()}" if done.returncode == 0 else "could not be built: the tests that need it are skipped"
    print(f"== kubernetes: {time.monotonic() - start:.0f} s, {place}", flush=True)


def make_oracle():
    """And a counterpart of Amazon's APIs. Where one cannot be made the tests that want it say so, one by one."""
    for name in ["oracle", "moto"]:
        start = time.monotonic()
        done = subprocess.run([ROOT / "tests/amazon/venv", name], stdout=subprocess.PIPE, text=True)
        place = f"in {done.stdout.strip()}" if done.returncode == 0 else "could not be made: the tests that need it are skipped"
        print(f"== {name}: {time.monotonic() - start:.0f} s, {place}", flush=True)


def on_the_oldest(suites):
    """The same programs with another Kubernetes; none where it cannot be built."""
    start = time.monotonic()
    done = subprocess.run([ROOT / "tests/kubetools/oldest/build"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        return []
    folder = done.stdout.strip()
    print(f"== the oldest kubernetes: {time.monotonic() - start:.0f} s, in {folder}", flush=True)
    of_it = {"environment": {"KUBEBUILDER_ASSETS": folder}}
    return [
        {**suite, **of_it, "name": f"{suite['name']}-oldest", "words": OLDEST[suite["name"]]}
        for suite in suites
    ]


def all_done(suites, logs, full):
    """What each came to, with its name."""
    apart = [suite for suite in suites if APART.match(suite["name"]) or TOGETHER.match(suite["name"])]
    if apart:
        yield from done_apart(apart, logs, full)
    for suite in suites:
        if suite not in apart:
            yield suite["name"], run(suite, logs, full and "words" not in suite)


def done_apart(suites, logs, full):
    """Each test is a process of its own."""
    start = time.monotonic()
    tests = [(suite, test) for suite in suites for test in listed(suite, full and "words" not in suite)]
    tests.sort(key=lambda one: not LONG.match(one[1]))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(lambda one: run_test(*one, logs, full), tests))
    print(f"== {len(tests)} tests with clusters of their own: {time.monotonic() - start:.0f} s", flush=True)
    for suite in suites:
        of_it = [(test, result) for (of, test), result in zip(tests, done) if of is suite]
        yield suite["name"], together(suite, of_it, logs, full)


def together(suite, done, logs, full):
    if TOGETHER.match(suite["name"]):
        return done[0][1]
    output = "\n".join(result["output"] for _, result in done)
    (logs / f"{suite['name'].replace('/', '.')}.log").write_text(output)
    skipped = {name: reason for _, result in done for name, reason in result["skipped"].items()}
    if not full and "words" not in suite:
        skipped |= {test.rsplit("::", 1)[-1]: "left for --full" for test in names_of(suite, ["--ignored"])}
    # One that has run nothing is not there any more.
    failed = [(test, result["output"]) for test, result in done if result["failed"] or not is_told(result)]
    return {
        "seconds": sum(result["seconds"] for _, result in done),
        "output": "\n".join([output for _, output in failed] + [f"FAILED {test}" for test, _ in failed]),
        "passed": sum(result["passed"] for _, result in done),
        "failed": len(failed),
        "skipped": skipped,
        "tests": [(result["seconds"], f"{suite['name']} {test}") for test, result in done],
    }


def is_told(result):
    return result["passed"] or result["skipped"]


def listed(suite, full):
    """The tests that are to run each by itself; where they belong together, that of no name."""
    if TOGETHER.match(suite["name"]):
        return [""]
    ignored = set() if full else set(names_of(suite, ["--ignored"]))
    return [test for test in names_of(suite, suite.get("words", [])) if test not in ignored]


def names_of(suite, words):
    command = [suite["command"][0], "--list", "--format=terse", *words]
    told = subprocess.run(command, cwd=suite["folder"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line.removesuffix(": test") for line in told.splitlines() if line.endswith(": test")]


def run_test(suite, test, logs, full):
    if not test:
        return run(suite, logs, full and "words" not in suite)
    one = {**suite, "name": test, "words": ["--exact", test]}
    folder = logs / suite["name"].replace("/", ".")
    folder.mkdir(exist_ok=True)
    return run(one, folder, full)


def run(suite, logs, full):
    """Runs one suite in its crate's folder, as cargo would."""
    command = [*suite["command"], *suite.get("words", [])]
    if suite["libtest"] and full:
        command.append("--include-ignored")
    if suite["libtest"] and SERIAL.match(suite["name"]):
        command.append("--test-threads=1")
    if TOGETHER.match(suite["name"]):
        command.append(f"--test-threads={AT_ONCE}")
    environment = {**os.environ, "CARGO_MANIFEST_DIR": str(suite["folder"]), "INSTA_UPDATE": "no", "RUST_BACKTRACE": "1"}
    environment |= suite.get("environment", {})
    start = time.monotonic()
    log = logs / f"{suite['name'].replace('/', '.').replace('::', '.')}.log"
    with open(log, "wb") as out:
        # A session of its own, so that a suite which hangs can be ended with all that it started.
        process = subprocess.Popen(
            command, cwd=suite["folder"], env=environment, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True,
        )
        code = wait(process, LIMIT_S[full])
    output = log.read_text(errors="replace")
    if code is None:
        output += f"\nended after {LIMIT_S[full]} s: it hangs\n"
    return {"seconds": time.monotonic() - start, "output": output, **tally(output, code)}


def wait(process, limit_s):
    """The exit code, or None where the suite had to be ended."""
    try:
        return process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def tally(output, code):
    """Counts a suite's tests; what was skipped or ignored has not passed, and a program that broke off has failed."""
    totals = [tuple(map(int, found)) for found in SUMMARY.findall(output)]
    passed, failed, _ = (sum(column) for column in zip(*totals)) if totals else (0, 0, 0)
    ends = {found["name"]: found["end"] for found in RESULT.finditer(output)}
    skipped = {found["name"]: found["reason"] for found in SKIP.finditer(output)}
    tests_skipped = [name for name, end in ends.items() if end == "ok" and skip_of(name, skipped)]
    for name in (name for name, end in ends.items() if end == "ignored"):
        skipped[name.rsplit("::", 1)[-1]] = "left for --full"
    if code != 0 and failed == 0:
        failed = 1
    return {"passed": passed - len(tests_skipped), "failed": failed, "skipped": skipped}


def skip_of(test, skipped):
    return any(test == name or test.endswith("::" + name) for name in skipped)


def judge(skipped):
    """Prints every skip; answers how many are not on the list."""
    listed = dict(entry.split(": ", 1) for entry in entries(SKIPS))
    unlisted = 0
    for name, reason in sorted(skipped.items()):
        known = name in listed
        unlisted += not known
        print(f"SKIP {name}: {reason}" + ("" if known else "   <- not in tests/skips.txt, so it counts as failed"))
    return unlisted


def entries(path):
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def line(name, done):
    counts = f"{done['passed']:4} passed"
    counts += f", {done['failed']} FAILED" if done["failed"] else ""
    counts += f", {len(done['skipped'])} skipped" if done["skipped"] else ""
    return f"{done['seconds']:7.1f} s  {name:45} {counts}"


def tell_slowest(times):
    print("== the slowest:")
    for seconds, name in sorted(times, reverse=True)[:SLOWEST]:
        print(f"{seconds:7.1f} s  {name}")


def indented(output, most=400):
    """The end of a failed suite's output."""
    lines = output.splitlines()
    left_out = [f"    ... {len(lines) - most} lines before in target/suites"] if len(lines) > most else []
    return "\n".join(left_out + ["    " + text for text in lines[-most:]])


def target_folder():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


main()
