"""Ticks of a clock become lines of a file; files that arrive are read whole or by line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from dovetail.testkit.processes import Dovetail, until

PROJECT = Path(__file__).parent / "clock-and-files"
INVOICE = """<?xml version="1.0" encoding="ISO-8859-1"?>
<i:Invoice xmlns:i="urn:invoice" number="R-1"><i:Total currency="EUR">12345678901234567.80</i:Total>
<i:Line>Stühle</i:Line><i:Line>Bänke</i:Line></i:Invoice>"""


def test_ticks_and_files(servers: Callable[..., Dovetail], tmp_path: Path) -> None:
    arriving, out = tmp_path / "in", tmp_path / "out"
    arriving.mkdir()
    server = servers(PROJECT, IN=str(arriving), OUT=str(out))
    assert server.start(), server.log()
    (arriving / "r-1.part").write_text(INVOICE, "latin-1")
    (arriving / "r-1.part").rename(arriving / "r-1.xml")
    (arriving / "names.txt").write_text("ada\n\ngrace\n")
    until("the invoice is JSON", lambda: (out / "r-1.json").exists())
    assert json.loads((out / "r-1.json").read_text()) == {
        "number": "R-1", "total": "12345678901234567.80", "currency": "EUR", "lines": ["Stühle", "Bänke"],
    }  # fmt: skip
    until("the file is in the archive", lambda: (arriving / "done/r-1.xml").exists())
    until("all names are files", lambda: server.count("names", "done") == 2)
    assert sorted(file.name for file in (out / "names").iterdir()) == ["ada.txt", "grace.txt"]
    assert server.count("names", "discarded") == 1
    until("the clock has ticked", lambda: server.count("ticks", "done") >= 5)
    assert server.stop() == 0
    ticks = [datetime.fromisoformat(line) for line in (out / "ticks.txt").read_text().split()]
    assert len(ticks) >= 5 and ticks == sorted(set(ticks))
