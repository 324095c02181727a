"""Differential fuzz: random expressions on random data, ours against the JavaScript reference.

    python bench/mapping_fuzz.py --count 100000 --seed 1

Compares the value, its absence, or the error code. Exits with 1 and prints the differences if there are any.
tools/oracle.sh installs the reference.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from mapping_grammar import Grammar

from dovetail.mapping import UNDEFINED, Limits, MappingError, compile
from dovetail.mapping.values import Function

HERE = Path(__file__).parent
MODULES = HERE.parent / "build/oracle/node_modules"
LIMITS = Limits(seconds=5.0, depth=400)
#: the reference's codes for too deep and too long
LIMITED = ("D1011", "D1012")
FUNCTION = {"\x00function": 1}


def ours(text: str, data: Any) -> dict[str, Any]:
    """Our answer in the oracle's words."""
    try:
        value = compile(text, limits=LIMITS).evaluate(data)
    except MappingError as error:
        return {"e": error.code}
    if value is UNDEFINED:
        return {"u": True}
    if not finite(value):
        return {"n": True}
    return {"v": plain(value)}


def plain(value: Any) -> Any:
    if isinstance(value, Function):
        return FUNCTION
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return None if value is UNDEFINED else value


def finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def alike(one: Any, two: Any) -> bool:
    if isinstance(one, bool) or isinstance(two, bool) or one is None or two is None:
        return one is two
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(alike, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(alike(one[key], two[key]) for key in one)
    if isinstance(one, int | float) and isinstance(two, int | float):
        return one == two or math.isclose(one, two, rel_tol=1e-13)
    return type(one) is type(two) and bool(one == two)


def agree(mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether both said the same. Where the reference breaks down itself (`x`), anything orderly is right."""
    if "x" in theirs or "n" in theirs or "n" in mine:
        return True
    if "v" in mine and "v" in theirs:
        return alike(mine["v"], theirs["v"])
    if theirs.get("e") in LIMITED:
        return mine.get("e") == "U1001"
    return mine == theirs


class Oracle:
    """The reference in a process of its own."""

    def __init__(self) -> None:
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "NODE_PATH": str(MODULES)}
        command = ["node", "--max-old-space-size=1024", str(HERE / "mapping_oracle.js")]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )

    def ask(self, tasks: list[tuple[str, Any]]) -> list[dict[str, Any]]:
        assert self.process.stdin is not None and self.process.stdout is not None
        lines = "".join(json.dumps({"expr": text, "data": data}) + "\n" for text, data in tasks)
        self.process.stdin.write(lines.encode())
        self.process.stdin.flush()
        answers: list[dict[str, Any]] = []
        for _ in tasks:
            line = self.process.stdout.readline()
            if not line:
                # it ran out of memory on this one: go on behind it
                self.process.wait(30)
                self.process = self._start()
                return [*answers, {"x": "died"}, *self.ask(tasks[len(answers) + 1 :])]
            answers.append(json.loads(line))
        return answers

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


def run(count: int, seed: int, shown: int) -> int:
    oracle = Oracle()
    kinds: Counter[str] = Counter()
    wrong = 0
    done = 0
    while done < count:
        grammar = Grammar(seed * 1_000_003 + done)
        tasks = [(grammar.expression(), grammar.data()) for _ in range(min(100, count - done))]
        for (text, data), theirs in zip(tasks, oracle.ask(tasks), strict=True):
            mine = ours(text, data)
            kinds[next(iter(theirs))] += 1
            if not agree(mine, theirs):
                wrong += 1
                if wrong <= shown:
                    print(f"DIFFERENT {text}\n  data   {json.dumps(data)}\n  ours   {mine}\n  theirs {theirs}")
        done += len(tasks)
    oracle.close()
    print(
        f"fuzz: {done} expressions, {wrong} different; the reference gave {kinds['v']} values, {kinds['u']} nothing, "
        f"{kinds['e']} errors, {kinds['n']} not finite, {kinds['x']} breakdowns"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shown", type=int, default=20)
    given = parser.parse_args()
    sys.exit(run(given.count, given.seed, given.shown))
