"""A bounded run of the differential fuzz against the JavaScript reference (`make fuzz` is the long one)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_ours_agrees_with_the_reference(record_property: Callable[[str, object], None]) -> None:
    subprocess.run(["sh", str(ROOT / "tools/oracle.sh")], check=True, timeout=300)
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/mapping_fuzz.py"), "--count", "6000", "--seed", "5"],
        stdout=subprocess.PIPE, timeout=600, text=True,
    )  # fmt: skip
    record_property("mapping", done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout
    assert "6000 expressions, 0 different" in done.stdout
