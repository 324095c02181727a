"""Columns and what they become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dovetail.store.base import Progress, Row, State

HEAD = "j.seq, j.stream, j.at, j.version, j.meta, j.key, j.parent, j.start, j.size, j.priority"
PROGRESS = "p.flow, p.seq, p.state, p.at, p.attempt, p.next_at, p.key, p.parts, p.reason, p.memo"
OPEN = "(state < 10 OR state = 12)"  # word for word the condition of index progress_open, which else goes unused
_STATES = {int(state): state for state in State}


def row(values: Sequence[Any], body: bytes | None = None) -> Row:
    """What begins with the columns of `HEAD`."""
    seq, stream, at, version, meta, key, parent, start, size, priority = values[:10]
    return Row(seq, stream, at, version, meta, body, key, parent, start, size, priority)


def progress(values: Sequence[Any]) -> Progress:
    """The columns of `PROGRESS`."""
    flow, seq, state, *rest = values
    return Progress(flow, seq, _STATES[state], *rest)
