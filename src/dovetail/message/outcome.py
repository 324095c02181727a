"""What became of one message at one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dovetail.errors import MessageError


@dataclass(frozen=True, slots=True)
class Done:
    """It went through. `reply` is what the other side answered, as plain data, or None."""

    reply: Any = None


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not; the error's class says what happens next."""

    error: MessageError


@dataclass(frozen=True, slots=True)
class Dropped:
    """A rule of the flow ended it here, on purpose; `reason` names the rule."""

    reason: str


Outcome = Done | Failed | Dropped
