"""Searching messages, and the lines that are found."""

from __future__ import annotations

from msgspec import Struct

from dovetail.errors import Refused
from dovetail.store.base import PENDING, State

MOST_LINES = 1000  # of one page


class Search(Struct, forbid_unknown_fields=True):
    """What to look for. Empty fields do not restrict. `states` are state words; `before` is a page's `next`.

    `flow` may be a pattern (`order-*`). `reason` is how a message's reason begins; `step` where its last attempt failed
    (or a pattern); `version` the flow version it is on.
    """

    flow: str = ""
    states: list[str] = []
    key: str | None = None
    since: int = 0
    until: int = 0
    text: str = ""
    reason: str = ""
    step: str = ""
    version: int = 0
    before: str = ""
    limit: int = 50


class MessageLine(Struct):
    """One message in one flow, as a list shows it. `reason` is a dead letter's or a waiting message's."""

    id: str
    flow: str
    state: str
    at: int
    size: int
    key: str = ""
    attempt: int = 0
    next_at: int = 0
    changed_at: int = 0
    reason: str = ""
    priority: str = ""  # `urgent`, `normal`, `background`, or nothing if its flow did not say


class Page(Struct):
    """Messages, newest first. `next` continues the search; empty when there is no more."""

    messages: list[MessageLine]
    next: str = ""


# the states as words
WORDS = {state: "pending" if state is State.FRESH else state.word for state in State}
ASKED = {"pending": PENDING, **{state.word: (state,) for state in State if state is not State.FRESH}}


def states(words: list[str]) -> tuple[State, ...]:
    """The states that these words ask for; `pending` means every message that has not ended. Raises `Refused`."""
    found: list[State] = []
    for word in words:
        if word not in ASKED:
            raise Refused(f"unknown state '{word}'; known: {', '.join(ASKED)}", code="unknown-state")
        found += [state for state in ASKED[word] if state not in found]
    return tuple(found)
