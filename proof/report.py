"""The page docs/proof.md, written from the results of a recorded run."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from dovetail.testkit.cells import CELLS, FAULTS, INVARIANTS, bound, run_cells
from proof.result import problems

RECORD, PAGE = Path("docs/proof.json"), Path("docs/proof.md")
WIDTH = 160  # characters of a finding

HEAD = """# How Dovetail is proved

<!-- Written by `make prove RECORD=1` from docs/proof.json. -->

`make prove` plays the faults that an integration meets against what Dovetail promises: in real processes, on images of
a disk that was cut off at every moment, through networks and clocks that fail. Senders, targets and an operator write
down what they saw, the engine never does; a checker that knows nothing of the engine judges. Bugs are planted as well,
and have to be caught. None of this proves that there is no fault: beside every 0 stands how large its rate may still be
with 95 % confidence (3/n).

`nice -n 19 make prove LONG=1 RECORD=1 RESUME=1` takes hours and can be left alone: it says how far it is, this page
grows with each tier that ends, and when it is begun again at the same commit it goes on with the next tier.
"""


def machine() -> dict[str, str]:
    """What a run was made on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": f"{os.cpu_count()} × {platform.machine()}",
        "memory": f"{memory / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
    }


def text(record: Mapping[str, Any]) -> str:
    """The whole page."""
    tiers: Sequence[Mapping[str, Any]] = record["tiers"]
    parts = [HEAD, _machine(record), _tiers(tiers), _replay(tiers), _planted(tiers), _matrix(tiers), _counters(tiers)]
    return "\n".join(part.strip() + "\n" for part in parts if part)


def record(command: str, tiers: Sequence[Mapping[str, Any]], order: Sequence[str]) -> None:
    """Keep the results of a run as far as it has come, in the place of earlier ones of the same tiers, and the page
    made of them."""
    earlier = json.loads(RECORD.read_text())["tiers"] if RECORD.exists() else []
    all_tiers = {tier["tier"]: tier for tier in earlier} | {
        tier["tier"]: {**tier, "command": command} for tier in tiers
    }
    kept = {"machine": machine(), "tiers": [all_tiers[name] for name in order if name in all_tiers]}
    RECORD.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(text(kept))


def _machine(record: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name} {value}" for name, value in record["machine"].items())
    return f"What each tier showed when it last ran to its end, on {told}."


def _tiers(tiers: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "## Trials",
        "",
        "| tier | one trial is | trials | findings | rate below | seconds | command | commit |",
        "|---|---|--:|--:|--:|--:|---|---|",
    ]
    for tier in tiers:
        rate = "" if tier["findings"] else f"{bound(tier['trials']):.1e}"
        lines.append(
            f"| {tier['tier']} | {tier.get('unit', '')} | {tier['trials']:,} | {len(tier['findings'])} | {rate} "
            f"| {tier['seconds']:.0f} | `{tier['command']}` | {tier.get('commit', '')} |"
        )
    for tier in tiers:
        lines += ["", *(f"- **{tier['tier']}**: {problem[:WIDTH]}" for problem in problems(tier))]
    return "\n".join(lines)


def _replay(tiers: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## One trial again", "", "A finding begins with its number:", "", "```console"]
    lines += [f"$ make prove TIER={tier['tier']} {tier['variable']}=17" for tier in tiers if tier.get("variable")]
    return "\n".join([*lines, "```"])


def _planted(tiers: Sequence[Mapping[str, Any]]) -> str:
    rows = [(name, tier["tier"], how) for tier in tiers for name, how in tier.get("planted", {}).items()]
    caught = sum(1 for _, _, how in rows if how)
    early = sum(tier["counters"].get("early answers", 0) for tier in tiers)
    passed = sum(tier["counters"].get("early answers passed", 0) for tier in tiers)
    lines = [
        "## Planted bugs",
        "",
        f"{caught} of {len(rows)} are caught.",
        "",
        "| bug | tier | caught by |",
        "|---|---|---|",
    ]
    lines += [f"| {name.replace('-', ' ')} | {tier} | {_cell(how) or '**not caught**'} |" for name, tier, how in rows]
    if early:
        lines += [
            "",
            f"Recorded journals in which one answer was moved before its commit: {early:,}; unnoticed: {passed}.",
        ]
    return "\n".join(lines)


def _cell(words: str) -> str:
    return words[:WIDTH].replace("|", "\\|").replace("\n", " ")


def _matrix(tiers: Sequence[Mapping[str, Any]]) -> str:
    ran = run_cells(tiers)
    lines = [
        "## Faults against invariants",
        "",
        f"{len(ran)} of {len(CELLS)} cells were run. A number: the trials of it.",
    ]
    lines += ["", f"| fault | {' | '.join(INVARIANTS)} |", "|---|" + "--:|" * len(INVARIANTS)]
    for fault in FAULTS:
        counts = [f"{ran[fault, name]:,}" if (fault, name) in ran else "" for name in INVARIANTS]
        lines.append(f"| {fault} | {' | '.join(counts)} |")
    lines += ["", *(f"- **{fault}**: {what}" for fault, what in FAULTS.items())]
    return "\n".join([*lines, "", *(f"- **{name}**: {what}" for name, what in INVARIANTS.items())])


def _counters(tiers: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## Places reached", "", "A run fails if one of these that has to be reached is not.", ""]
    for tier in tiers:
        told = ", ".join(f"{name} {n:,}" for name, n in sorted(tier["counters"].items()) if n)
        lines.append(f"- **{tier['tier']}**: {told}")
    return "\n".join(lines)
