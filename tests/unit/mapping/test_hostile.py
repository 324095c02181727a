"""Hostile expressions end within their limits, in time and memory, and never touch the host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_corpus_is_refused_or_ends_and_touches_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "hostile_run.py")], stdout=subprocess.PIPE, check=True, timeout=600
    )
    report = json.loads(done.stdout)
    sys.stdout.write(f"hostile corpus: {report['count']} expressions, {report['memory']} MiB, {report['errors']}\n")
    assert report["count"] >= 400
    assert report["wrong"] == []
    assert report["touched"] == []
    assert report["memory"] < 1024
