"""Figures as a table, and as docs/benchmarks.md."""

import os
import platform
import subprocess
from pathlib import Path


def table(figures):
    rows = [["figure", "value", "middle half", "bound", "floor of the same run"]]
    rows += [row(figure) for figure in figures]
    widths = [max(len(cells[at]) for cells in rows) for at in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |" for cells in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def row(figure):
    number = lambda value: f"{value:.{digits(value)}f}"
    spread = f"{number(figure.spread[0])} to {number(figure.spread[1])}" if figure.spread else ""
    bound = "" if figure.bound is None else f"{number(figure.bound)} {figure.unit}"
    if figure.is_broken():
        bound += " BROKEN"
    floor = "" if figure.floor is None else f"{number(figure.floor)} {figure.unit}: {figure.floor_is}"
    return [figure.name, f"{number(figure.value)} {figure.unit}", spread, bound, floor]


def digits(value):
    return 0 if value >= 100 else 1 if value >= 10 else 2


def rewrite(path, measured, arguments):
    """Puts what was measured into the page, a section for each benchmark. The others stay as they are."""
    sections = read(path.read_text()) | {name: section(*found, arguments) for name, found in measured.items()}
    ordered = sorted(sections.items())
    path.write_text(INTRODUCTION + "".join(f"\n{HEADING}{name}\n\n{text.strip()}\n" for name, text in ordered))


def read(text):
    parts = text.split(f"\n{HEADING}")[1:]
    return {name: body for name, body in (part.split("\n", 1) for part in parts)}


def section(about, figures, arguments):
    return SECTION.format(about=about, table=table(figures), turns=arguments.turns, machine=machine())


HEADING = "## "

INTRODUCTION = """\
# Benchmarks

Each section is written by

    tests/bench/run --only SECTION --write

(with `--all` for the largest fleet), which measures anew; do not edit it by hand. Times are medians of
as many turns as the section says, or of a third as many for what takes a second. The middle half is from the lower to the upper
quartile. Each floor was measured in the same run, turn by turn with the figure: the least that any program would have to do there.
"""

SECTION = """\
{about}

{table}

{turns} turns on {machine}.
"""


def machine():
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()
    return f"{processor()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, {compiler}"


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
