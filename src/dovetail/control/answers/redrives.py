"""Taking dead letters up again."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from dovetail.control.answers.messages import Search


class RedriveOrder(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which dead letters to take up again: by `ids` (`id`, or `flow:id`), or those that `search` finds (oldest first,
    up to `limit`).

    `flow` narrows ids that several flows read. `body` (base64) replaces the body of one message. `version`: `current`,
    or `same` to stay on the version that the message was on. `rate`: messages a second, 0 for all at once. `map` is an
    expression that makes the new body of every message out of its body. `as_new`: the messages run anew from their
    beginning, with new ids and effect keys. `note` stands in the audit trail. `answers` are for a dry run: what
    stands in for the answer of a call that is not made, by step; without one it is {}.
    """

    by: str
    ids: list[str] = []
    search: Search | None = None
    flow: str = ""
    body: str | None = None
    version: str = "current"
    rate: float = 0.0
    limit: int = 10000
    map: str = ""
    as_new: bool = False
    answers: dict[str, Any] = {}
    note: str = ""


class Skipped(Struct):
    """A message that was not touched, and why."""

    id: str
    why: str


class RedriveAnswer(Struct):
    """What was taken up again; `new` are the ids of those that run as new, in the same order. `more`: the search found
    further ones beyond the limit."""

    redriven: list[str]
    skipped: list[Skipped] = []
    more: bool = False
    new: list[str] = []
