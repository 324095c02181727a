"""What became of one message at one place."""

from __future__ import annotations

from typing import Any

import msgspec

from dovetail.errors import MessageError


class Done(msgspec.Struct, frozen=True):
    """It went through. `reply` is what the other side answered, as plain data, or None."""

    reply: Any = None


class Failed(msgspec.Struct, frozen=True):
    """It did not; the error's class says what happens next."""

    error: MessageError


class Dropped(msgspec.Struct, frozen=True):
    """A rule of the flow ended it here, on purpose; `reason` names the rule."""

    reason: str


Outcome = Done | Failed | Dropped
