"""The whole server, or a store at rest, in numbers."""

from __future__ import annotations

from msgspec import Struct


class FlowStatus(Struct):
    """One flow's numbers. `states` splits `pending` by state word; `accepted` counts what stands in the stream it
    reads; `remembers` says how many keys (open groups, known ids) its steps remember, by step.
    """

    flow: str
    accepted: int
    pending: int
    done: int
    discarded: int
    dead: int
    states: dict[str, int] = {}
    waiting_for: str = ""  # the target that holds the flow back
    remembers: dict[str, int] = {}
    parked: int = 0  # keys that stand still behind a dead letter
    ready: dict[str, int] = {}  # messages in memory that may run and wait for their turn, by priority
    hot_keys: dict[str, int] = {}  # messages behind the head of the flow's longest lanes, as far as this process saw
    partitions: int = 0  # of its source: how many are remembered with how far they have come
    positions: dict[str, int] = {}  # up to 20 of them, by name: the highest number that was accepted
    bytes: int = 0  # bodies that are kept in the stream it reads
    most_bytes: int = 0  # and how many may be; 0 when no server runs


class TargetStatus(Struct):
    """One outside system and its breaker: `closed`, `open` or `half_open`."""

    target: str
    breaker: str


class Status(Struct):
    """The whole server, or a store at rest (`running` false)."""

    running: bool
    project: str
    store: str
    flows: list[FlowStatus]
    targets: list[TargetStatus] = []
    ready: bool = False
    reasons: list[str] = []
    pid: int = 0
    uptime: float = 0.0
    usage: dict[str, int] = {}
    disk: str = ""  # `full`: nothing is accepted; `very full`: nothing is fetched, either
