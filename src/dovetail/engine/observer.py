"""The one seam for telemetry: the engine says what happened, implementations of everything else stay silent."""

from __future__ import annotations

from dovetail.message import Message
from dovetail.sdk import Call
from dovetail.store.base import State


class Observer:
    """Hears what the engine does; this one does nothing. Called on the event loop: be quick and never raise."""

    def accepted(self, flow: str, count: int) -> None:
        """`count` messages stand committed and flushed."""

    def refused(self, flow: str, code: str) -> None:
        """A message was turned away at the door."""

    def ended(self, flow: str, message: Message, state: State, seconds: float) -> None:
        """A message reached DONE, DISCARDED or DEAD, `seconds` after its acceptance."""

    def step(self, flow: str, step: str, seconds: float, count: int) -> None:
        """A step ran over a batch of `count`."""

    def failed(self, flow: str, step: str, code: str, message: Message, error: Exception) -> None:
        """An attempt failed; `code` is the error's."""

    def effect(self, flow: str, step: str, target: str, call: Call, seconds: float, outcome: str) -> None:
        """An attempt of an effect on an outside system ended as `done`, `failed` or `in_doubt`."""

    def breaker(self, target: str, state: str) -> None:
        """A target's breaker went `closed`, `open` or `half_open`."""

    def commit(self, seconds: float, entries: int, rows: int) -> None:
        """One group commit was flushed."""

    def disk(self, level: str, used: float) -> None:
        """The store's disk became `full` (nothing is accepted), `very full` (nothing is fetched) or has room again
        (empty); `used` from 0 to 1."""

    def store(self, available: bool, reason: str) -> None:
        """The store stopped or resumed taking messages."""
