"""`plan` of many apps from files: processor seconds.

Every app has three services, a job, a volume, probes, env and an override: 90 lines of YAML. The floor is Python's
json module on the same lines as JSON, which is C code that keeps no places and checks nothing.
"""

import json
import time
from pathlib import Path

from measure import Figure, Home, median, spread, turn_by_turn

GOAL_S = 2.0

SERVICE = """\
    {name}:
      image: {image}
      ports:
        - name: http
          port: 8080
      env:
        LOG_LEVEL: info
        REGION: eu-west-1
        NEXT: ${{services.{next}.url}}
      files:
        - path: /etc/{name}/settings.toml
          content: |
            level = 3
            colour = "blue"
      resources:
        cpu: 500m
        memory: 256Mi
      health:
        ready:
          http: {{path: /ready}}
          interval: 2s
        live:
          tcp: {{port: 8080}}
      scale:
        min: 2
      after: [migrate]
"""

APP = """\
apiVersion: portolan.dev/v1alpha1
kind: App
metadata:
  name: app-{number:04}
  labels:
    team: t{team}
spec:
  services:
{services}  jobs:
    migrate:
      image: {image}
      command: [/web, migrate]
      volumes:
        - name: data
          path: /data
      timeout: 5m
  overrides:
    local:
      services:
        api:
          scale: {{min: 1}}
"""

NAMES = ["web", "api", "worker"]


def measure(programs, arguments):
    with Home(programs) as home:
        files, image = write_apps(home, arguments.apps), pinned_image(home)
        for path in files:
            path.write_text(path.read_text().replace("IMAGE", image))
        as_json = write_json(home, files)
        folder = str(files[0].parent)
        results = turn_by_turn(
            max(3, arguments.turns // 3),
            floor=lambda: read_json(as_json),
            validate=lambda: home.portolan("validate", "-f", folder).cpu_ms / 1e3,
            plan=lambda: home.portolan("plan", "-f", folder, codes=(2,)).cpu_ms / 1e3,
        )
    floor = median(results["floor"])
    floor_is = "json.loads of the same lines"
    title = f"of {arguments.apps} apps from files, processor time"
    return [
        Figure(f"`validate` {title}", median(results["validate"]), "s", None, floor, floor_is, spread(results["validate"])),
        Figure(f"`plan` {title}", median(results["plan"]), "s", GOAL_S, floor, floor_is, spread(results["plan"])),
    ]


def write_apps(home, count):
    folder = home.path / "apps"
    folder.mkdir()
    paths = []
    for number in range(count):
        services = "".join(
            SERVICE.format(name=name, next=NAMES[(at + 1) % 3], image="IMAGE") for at, name in enumerate(NAMES)
        )
        path = folder / f"app-{number:04}.yaml"
        path.write_text(APP.format(number=number, team=number % 17, services=services, image="IMAGE"))
        paths.append(path)
    return paths


def pinned_image(home):
    """A small image of the store, by its digest, so that nothing is looked up in a registry."""
    tree = home.path / "tree"
    tree.mkdir()
    (tree / "web").write_text("no program\n")
    home.import_tree(tree, "portolan.local/bench")
    listing = home.output("image", "ls", "-o", "json")
    return "portolan.local/bench@" + find_digest(json.loads(listing))


def find_digest(value):
    """The first digest in the listing, wherever it stands in it."""
    if isinstance(value, str):
        return value if value.startswith("sha256:") else None
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return next((found for found in map(find_digest, values) if found), None)


def write_json(home, files):
    """The same documents as JSON, line by line: a crude reading that fits the generated files alone."""
    folder = home.path / "json"
    folder.mkdir()
    paths = []
    for path in files:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        document = {f"{number} {line.split(':')[0]}": line.split(":", 1)[-1].split() for number, line in enumerate(lines)}
        target = folder / (path.stem + ".json")
        target.write_text(json.dumps(document))
        paths.append(target)
    return paths


def read_json(paths):
    start = time.process_time()
    for path in paths:
        json.loads(Path(path).read_bytes())
    return time.process_time() - start
