"""Hostile expressions are refused or end within their time limit, in bounded memory, off the host.

Time is CPU time of the evaluating thread, also for the limit's clock. An evaluation may take 1.5 times its limit and
one step that cannot be interrupted, measured in the same process; compiling is held against a plain mapping of as many
tokens as are allowed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent


def test_the_corpus_is_refused_or_ends_and_touches_nothing(record_property: Callable[[str, object], None]) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "hostile_run.py")], stdout=subprocess.PIPE, check=True, timeout=600
    )
    report = json.loads(done.stdout)
    refused = sum(report["errors"].values())
    record_property(
        "mapping", f"hostile corpus: {report['count']} expressions, {refused} refused, {report['memory']} MiB"
    )
    assert report["count"] >= 900
    assert report["wrong"] == []
    assert report["touched"] == []
    assert report["late"] == []
    assert report["memory"] < 1024
