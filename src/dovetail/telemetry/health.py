"""Whether this process is alive, and whether it should be sent messages."""

from __future__ import annotations

import msgspec

from dovetail.engine.observer import Observer


class Answer(msgspec.Struct, frozen=True):
    """`ok`, and otherwise why not, in words."""

    ok: bool
    reasons: tuple[str, ...] = ()


class Health(Observer):
    """Live as long as it can answer; ready when it is started, not draining, and its store takes messages."""

    def __init__(self) -> None:
        self._against: dict[str, str] = {"phase": "starting"}

    def started(self) -> None:
        """Every flow's door is open."""
        self._against.pop("phase", None)

    def draining(self) -> None:
        """The doors are closing; what was accepted is being finished."""
        self._against["phase"] = "draining"

    def store(self, available: bool, reason: str) -> None:
        if available:
            self._against.pop("store", None)
        else:
            self._against["store"] = f"the store takes no messages: {reason}"

    def disk(self, level: str, used: float) -> None:
        if level:
            self._against["disk"] = f"the disk of the store is {level} ({used:.0%}): nothing more is accepted"
        else:
            self._against.pop("disk", None)

    def live(self) -> Answer:
        """Answering is the proof: a stuck event loop answers nobody."""
        return Answer(True)

    def ready(self) -> Answer:
        """Whether messages may be sent here now."""
        return Answer(not self._against, tuple(self._against.values()))
