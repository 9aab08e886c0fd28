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


def page(figures, arguments):
    return PAGE.format(
        table=table(figures),
        options=("--all " if arguments.all else "".join(f"--only {name} " for name in arguments.only or [])) + "--write",
        turns=arguments.turns,
        machine=machine(),
    )


PAGE = """\
# Benchmarks

Written by

    tests/bench/run {options}

which measures anew; do not edit it by hand. Times are medians of {turns} turns (of a third as many for what takes a second).
The middle half is from the lower to the upper quartile. Each floor was measured in the same run, turn by turn
with the figure: the least that any program would have to do there.

{table}

Measured on {machine}.
"""


def machine():
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()
    return f"{processor()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, {compiler}"


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
