"""What a redrive would send."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from dovetail.control.answers.redrives import Skipped


class Outgoing(Struct):
    """What a message would send: `what` is call, write or publish; `to` the operation, sink or topic; `key` the effect
    key; `args` as JSON."""

    what: str
    step: str
    to: str
    key: str
    args: dict[str, str]
    body: str


class Change(Struct):
    """One place where what would be sent now differs. `kind`: added, removed or changed; values as JSON, shortened."""

    kind: str
    path: str
    was: str
    now: str


class DryRun(Struct):
    """One dead letter, rehearsed. `before` and `version`: the flow version it was on and the one it would take.

    `ends`: done, discarded, split, failed (it would be a dead letter again: `step`, `code`, `why`) or open (it fails
    at `step`, but only with what stands in for an answer). `assumed`: answers that only the real call gives, by step,
    with what was taken for each. `untouched`: done effects that stay as they are. What was
    (`was`) sent or would have been, by the old version, is computed again.
    """

    id: str
    flow: str
    before: int
    version: int
    ends: str
    step: str
    code: str
    why: str
    untouched: int
    was: list[Outgoing]
    now: list[Outgoing]
    changes: list[Change]
    assumed: dict[str, Any] = {}


class Alike(Struct):
    """Dry runs with the same shape of difference and the same end; `example` is one message's id."""

    flow: str
    before: int
    version: int
    ends: str
    reason: str
    changes: list[str]
    count: int
    example: str
    why: str
    assumed: dict[str, Any] = {}


class DryRunAnswer(Struct):
    """What a redrive would do; nothing was sent or written."""

    runs: list[DryRun]
    groups: list[Alike] = []
    skipped: list[Skipped] = []
    more: bool = False
