"""Where rows and files go that nobody could read, with what was wrong with them."""

from __future__ import annotations

import json
from typing import Any

from dovetail.connectors.file.root import Root


class Quarantine:
    """A folder for what was bad. Every function blocks and raises OSError.

    The bad rows of a file are collected in a file of its own while the file is being read, one line of JSON for each,
    so that a restart in the middle keeps them; at the end they become the quarantine file (the rows as they were) and
    its report.
    """

    def __init__(self, root: Root) -> None:
        self.root = root

    def add(self, mark: str, rows: list[dict[str, Any]]) -> None:
        """Collect bad rows: `line`, `reason`, `raw`."""
        lines = (json.dumps(row).encode() + b"\n" for row in rows)
        self.root.append(f"unfinished-{mark}", b"\n" + b"".join(lines))  # the first line break ends a torn line

    def finish(self, mark: str, name: str, header: bytes, encoding: str) -> dict[str, Any] | None:
        """Turn what was collected into `<name>.bad-…` and its report, and say what is in it; None without bad rows."""
        unfinished = f"unfinished-{mark}"
        try:
            body, _ = self.root.read(unfinished, 1 << 30)
        except FileNotFoundError:
            return None
        rows = {}
        for line in body.splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # torn by a crash: its portion was read again
                continue
            rows[row["line"]] = row
        stem, dot, ending = name.partition(".")
        bad = f"{stem}.bad-{mark[:8]}{dot}{ending}"
        ordered = [rows[line] for line in sorted(rows)]
        reasons = [{"line": row["line"], "reason": row["reason"]} for row in ordered]
        report = {"file": name, "rows": bad, "bad": reasons}
        raw = "".join(f"{row['raw']}\n" for row in ordered)
        self.root.write(bad, header + raw.encode(encoding, "replace"), f"{mark}-rows")
        self.root.write(f"{bad}.report.json", json.dumps(report, indent=2).encode(), f"{mark}-report")
        self.root.remove(unfinished)
        return report

    def whole(self, root: Root, name: str, reason: str) -> str:
        """Put a whole file here, beside its report; the name it got."""
        moved = root.move(name, self.root, name)
        report = json.dumps({"file": name, "reason": reason}, indent=2).encode()
        self.root.write(f"{moved}.report.json", report, f"{moved[:80]}-report")
        return moved
