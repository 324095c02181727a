"""Tables of a benchmark run: for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
from rich.console import Console
from rich.table import Table
from scenarios import CONNECTIONS, Effort
from subjects import HERE

DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
RATIOS = [  # name, scenario and subjects of the quotient, what is wanted
    ("durable accept ÷ floor", "accept", "dovetail, accept only", "floor, accept only", "≥ 0.55"),
    ("end to end ÷ floor", "deliver", "dovetail", "floor", "≥ 0.5"),
    ("by hand, with the same checks and records: durable accept ÷ floor", "accept", "by hand, accept only",
     "floor, accept only", ""),
    ("by hand, with the same checks and records: end to end ÷ floor", "deliver", "by hand", "floor", ""),
    ("durable accept ÷ by hand", "accept", "dovetail, accept only", "by hand, accept only", ""),
    ("end to end ÷ by hand", "deliver", "dovetail", "by hand", ""),
    ("topic → map → topic ÷ SQLite loop", "topic", "dovetail", "floor", "≥ 0.6"),
    ("end to end ÷ Node-RED", "deliver", "dovetail", "node-red", "≥ 5"),
    ("end to end ÷ n8n", "deliver", "dovetail", "n8n", ""),
]  # fmt: skip
INTRODUCTION = """# Benchmarks

Written by `python bench/run.py`. Ratios within this one run are what counts; the absolute numbers are this machine's.
Load generator, target and what is measured share {cores} cores.

Machine: {machine}.

Each message is a signed order of about 1 KB, sent over {connections} keep-alive connections that wait for each answer.
*Floor* is `bench/floor.py`: uvloop, an HTTP parser, SQLite with `synchronous=FULL` and group commit, a mapping written
by hand, raw keep-alive connections to the target; no verification, contract, dedupe, retries or recovery.
*By hand* is `bench/by_hand.py`: the floor with the checks and records that the flow's text asks for (signature, strict
JSON, contract, dedupe, an end for each order), written for this one flow; what an engine is for is still missing.
*Dovetail* verifies the signature, validates the contract, dedupes, filters, maps, calls and records; the peers filter,
map and call, with the settings they are shipped with. *End to end* counts orders from the first one sent to the last
one that reached the target. *Missing* are orders answered 2xx that the target never saw: after SIGKILL in mid-load and
a restart, and after the target had been away for ten seconds. *Seen again* are calls that were repeated because nobody
could know whether the first one arrived; Dovetail repeats them under the same Idempotency-Key.
"""


@dataclass(slots=True)
class Results:
    """``found[scenario][subject]``, and a line for everything that could not be measured."""

    found: dict[str, dict[str, Any]]
    failures: list[str]


Grid = tuple[str, list[str], list[list[str]]]  # title, head, rows


def grids(results: Results) -> list[Grid]:
    """Every table that has something to show."""
    tables = [ratios(results), rates(results), losses(results), pending(results)]
    return [table for table in tables if table[2]]


def ratios(results: Results) -> Grid:
    """Quotients of rates measured in this run."""
    rows = []
    for name, scenario, ours, theirs, wanted in RATIOS:
        found = results.found[scenario]
        if ours in found and theirs in found:
            rows.append([name, f"{found[ours]['rate'] / found[theirs]['rate']:.2f}", wanted])
    return "Ratios", ["ratio", "measured", "wanted"], rows


def rates(results: Results) -> Grid:
    """Messages a second and the percentiles of the accept."""
    rows = []
    names = {"accept": "durable accept", "deliver": "end to end", "topic": "topic → map → topic, batch 500"}
    for scenario, name in names.items():
        for subject, found in results.found[scenario].items():
            p50, p99 = (f"{found[key]:.1f} ms" if key in found else "" for key in ("p50", "p99"))
            label = " ".join(filter(None, (subject, results.found["version"].get(subject))))
            rows.append([name, label, f"{found['rate']:,.0f}", p50, p99])
    return "Rates", ["what", "subject", "a second", "accept p50", "accept p99"], rows


def losses(results: Results) -> Grid:
    """Missing and repeated orders after each fault."""
    rows = []
    for scenario, name in {"kill": "kill -9 and restart", "away": "target away for 10 s"}.items():
        for subject, loss in results.found[scenario].items():
            rows.append([name, subject, f"{loss.accepted:,}", f"{loss.missing:,}", f"{loss.repeated:,}"])
    return "Faults", ["fault", "subject", "accepted", "missing", "seen again"], rows


def pending(results: Results) -> Grid:
    """Memory, restart and disk with many messages pending."""
    found = results.found["pending"].get("dovetail")
    if not found:
        return "Pending", [], []
    row = [
        f"{found['pending']:,}",
        f"{found['memory'] / 2**20:,.0f} MB",
        f"{found['memory_after'] / 2**20:,.0f} MB",
        f"{found['restart']:.1f} s",
        f"{found['bytes']:,.0f}",
    ]
    head = ["messages", "resident memory", "after the restart", "restart to first delivery", "bytes on disk a message"]
    return "Many messages pending", head, [row]


def print_tables(results: Results, console: Console) -> None:
    """The tables on a terminal."""
    for title, head, rows in grids(results):
        table = Table(*head, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for failure in results.failures:
        console.print(f"not measured: {failure}", highlight=False, markup=False)


def write_document(results: Results, effort: Effort) -> None:
    """The tables as docs/benchmarks.md."""
    cores = len(os.sched_getaffinity(0))
    parts = [INTRODUCTION.format(cores=cores, machine=machine(), connections=CONNECTIONS)]
    parts.append(f"Runs of {effort.seconds:.0f} s, the median of {effort.rounds}; {time.strftime('%Y-%m-%d')}.\n")
    for title, head, rows in grids(results):
        lines = [f"## {title}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        parts.append("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]))
    if results.failures:
        failures = (f"- {' '.join(line.split())[:400]}" for line in results.failures)
        parts.append("\n".join(["## Not measured", "", *failures, ""]))
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text("\n".join(parts))


def machine() -> str:
    """This machine in one line: nothing that names it, only what it can do."""
    cpu = next((line.split(":")[1].strip() for line in read("/proc/cpuinfo") if line.startswith("model name")), "CPU")
    memory = next((int(line.split()[1]) / 2**20 for line in read("/proc/meminfo") if line.startswith("MemTotal")), 0.0)
    parts = [f"{os.cpu_count()} cores of {cpu}", f"{memory:.0f} GB", f"{platform.system()} {platform.release()}"]
    parts += [f"Python {platform.python_version()}", f"SQLite {apsw.sqlitelibversion()}"]
    if node := shutil.which("node"):
        version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
        parts.append(f"Node {version.removeprefix('v')}")
    return ", ".join(parts)


def read(file: str) -> list[str]:
    """The lines of a file, none when it is not there."""
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []
