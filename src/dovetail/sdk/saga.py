"""An effect's part in the saga of its message: how it is undone, or that from here on there is only forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dovetail.message import Message
from dovetail.sdk.connector import Reply


@dataclass(frozen=True, slots=True)
class Saga:
    """Said with an effect, before it is made.

    `compensation` (`connection.operation`) undoes it. `request` makes the compensation's message and arguments from
    the effect's reply, None when nobody knows it: before the call, and for good if its outcome stays in doubt. A
    `pivot` has no compensation: once it is done, nothing before it is undone any more.
    """

    compensation: str = ""
    request: Callable[[Reply | None], tuple[Message, Mapping[str, Any]]] | None = None
    timeout: float | None = None  # seconds that one call of the compensation may take
    pivot: bool = False
