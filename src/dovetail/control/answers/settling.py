"""Dead letters that nobody sends on, and the keys that stand still behind one."""

from __future__ import annotations

from msgspec import Struct

from dovetail.control.answers.redrives import Skipped


class ParkedKey(Struct):
    """A key that stands still behind a message that failed (`failed`, its id), and how many wait behind it on disk.

    `state` is the failed one's: dead, or pending once it was redriven. `strict`: the flow says `block`.
    """

    flow: str
    key: str
    since: int
    behind: int
    failed: str
    state: str = ""
    reason: str = ""
    strict: bool = False


class UnparkOrder(Struct, forbid_unknown_fields=True):
    """Let a parked key go on. `failed` says what becomes of the dead letter at its head: `redrive` (first it, then the
    others), `discard`, or `leave` (it stays a dead letter and the others pass it). `reason` goes into the audit.
    """

    by: str
    flow: str
    key: str
    failed: str
    reason: str = ""


class DiscardOrder(Struct, forbid_unknown_fields=True):
    """Dead letters that nobody will send on. `flow` narrows ids that several flows read."""

    by: str
    reason: str
    ids: list[str]
    flow: str = ""


class Discarded(Struct):
    """What was discarded."""

    discarded: list[str]
    skipped: list[Skipped] = []
