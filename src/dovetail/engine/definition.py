"""What the engine runs: flows as compiled values. The project makes them; the engine never reads text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from dovetail.sdk import Checker, Connection, Expression, Message, Source, Step
from dovetail.store.base import Keeping


@dataclass(frozen=True, slots=True)
class Policy:
    """A flow's word on failure. Times in seconds."""

    retry_for: float = 86400.0  # how long after the first failure a transient fault is retried
    retry_base: float = 1.0
    retry_cap: float = 900.0
    max_attempts: int | None = None
    unsafe: Literal["retry", "park"] = "park"  # in doubt, and a repeat would be a second effect
    poison: Literal["skip", "block", "park_key"] = "skip"  # what a dead letter means for later ones of its key
    crash_limit: int = 3  # in flight at that many crashes: a dead letter
    call_timeout: float = 30.0
    compensate_for: float = 86400.0  # how long after its first failure a compensation is retried
    compensated: Literal["dead_letter", "discard"] = "dead_letter"  # the end of a message that was undone
    concurrency: int = 128  # messages with effects under way at once


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """How full the store's disk may be, from 0 to 1; it goes on when it is `slack` lower again."""

    stop_accepting: float = 0.80
    stop_fetching: float = 0.90
    slack: float = 0.02


DAY = 86_400_000  # milliseconds
LEFT = "left:"  # the mark of a flow that reads a topic no more begins so; it holds the topic's number
KEEPING = Keeping(7 * DAY, 7 * DAY, 90 * DAY, 7 * DAY, 91 * DAY, 10 * 10**9)


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """One version of a flow, compiled. `number` is the store's; `steps` are built and carry their ids."""

    number: int
    digest: str
    steps: Sequence[Step]
    policy: Policy = field(default_factory=Policy)
    key: Expression | None = None
    dedupe: Expression | None = None
    contract: Checker | None = None
    priority: Callable[[Message], int] | None = None  # 1 urgent, 2 normal, 3 background


@dataclass(frozen=True, slots=True)
class Canary:
    """A newer version that takes a share of the new messages: those whose key is in `keys`, and `percent` of all keys.

    Messages of one key stay together, so their order holds; those without a key are told apart by their bodies, so
    that a repeat meets the same version.
    """

    version: FlowVersion
    percent: float = 0.0
    keys: frozenset[str] = frozenset()

    def takes(self, key: str | None, body: bytes) -> bool:
        """Whether a message with this key and body is one of the share."""
        if key is not None and key in self.keys:
            return True
        if not self.percent:
            return False
        drawn = blake2b(body if key is None else key.encode(), digest_size=4).digest()
        return int.from_bytes(drawn, "big") < self.percent / 100 * 2**32


@dataclass(frozen=True, slots=True)
class FlowDefinition:
    """A flow as it is deployed: its current version, where its messages come from, and how older versions are
    loaded. `moved`: versions whose messages begin on another one instead."""

    name: str
    current: FlowVersion
    source: Source | None
    load: Callable[[int], FlowVersion]  # by number; raises ProjectError when its text cannot be built any more
    from_start: bool = False  # a new subscriber of a topic begins at its oldest message
    text: str = ""  # the digest of the text that this was made of; `current` may be another version
    source_of: Callable[[int], Source | None] | None = None  # the source as it stood in a version
    canary: Canary | None = None
    moved: Mapping[int, int] = field(default_factory=dict)
    keeping: Keeping = KEEPING


@dataclass(frozen=True, slots=True)
class Application:
    """Everything the engine is given to run."""

    flows: Sequence[FlowDefinition]
    connections: Mapping[str, Connection]
    rates: Mapping[str, float] = field(default_factory=dict)  # calls a second by target
    keeping: Keeping = KEEPING  # of flows that are no longer there
    audit: int = 400 * DAY
    disk: DiskLimits = field(default_factory=DiskLimits)
