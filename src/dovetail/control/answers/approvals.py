"""Decisions that a person makes."""

from __future__ import annotations

from msgspec import Struct


class ApprovalOrder(Struct, forbid_unknown_fields=True):
    """Approve (or reject) the message `id`, which waits for a decision; `flow` and `step` when it waits for several."""

    id: str
    by: str
    approve: bool = True
    comment: str = ""
    flow: str = ""
    step: str = ""


class ApprovalLine(Struct):
    """A message that waits for a decision: by whom, what they are asked, since when and until when (0: for ever)."""

    message: str
    flow: str
    step: str
    by: str
    what: str
    since: int
    deadline: int
