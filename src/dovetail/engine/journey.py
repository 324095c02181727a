"""One accepted message on its way through one flow, as long as it is in memory."""

from __future__ import annotations

import asyncio
import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from dovetail.engine.memo import Effect, Memo, pack
from dovetail.engine.priority import ORDINARY, UNSAID
from dovetail.sdk import Message
from dovetail.store.base import Entry, Progress, State

if TYPE_CHECKING:
    from dovetail.engine.execute import Compiled


_ROUND = re.compile(r"~\d+$")


class Journey:
    """`attempt` is the number of the attempt under way. `outbox` and `parts` are written with the next row. `key` is
    its lane."""

    __slots__ = (
        "absorbed", "at", "attempt", "busy", "emitted", "floating", "held", "key", "last", "memo", "message",
        "outbox", "parent", "parts", "priority", "rank", "recorded", "reply", "roused", "seq", "start",
        "task", "version", "waits",
    )  # fmt: skip

    def __init__(
        self, seq: int, at: int, message: Message, version: Compiled, *, key: str | None, start: int, parent: int
    ) -> None:
        self.seq, self.at, self.message, self.version = seq, at, message, version
        self.key, self.start, self.parent = key, start, parent
        self.attempt = 1
        self.priority = UNSAID  # as the journal has it: what it gives rise to inherits it
        self.rank = ORDINARY
        self.memo: Memo | None = None
        self.outbox: list[tuple[Entry, Message | None]] | None = None
        self.parts: list[Entry] | None = None
        self.recorded = False  # whether a row of progress speaks of it
        self.held = False  # its row says HELD: it was loaded ahead of its turn, and must be claimed before it runs
        self.busy = False  # a run of it is under way
        self.last: bool | None = None  # what a step was told when it asked whether this is the last attempt
        self.floating = False  # its entry names no version (a topic's): its first row must
        self.reply: tuple[Message, int] | None = None
        self.absorbed: str | None = None  # a step has taken it in: it ends, and this is the reason
        self.emitted = ""  # the step that made it of what it remembered
        self.waits = False  # it waits for a time or an event, and its row says so or is on its way
        self.roused = False  # what it waits for has come while it was running
        self.task: asyncio.Task[None] | None = None  # runs it on its own, if one does

    @property
    def notes(self) -> Memo:
        """The memo, made on first use."""
        if self.memo is None:
            self.memo = Memo()
        return self.memo

    @property
    def undoing(self) -> bool:
        """Whether it failed for good and goes backwards now."""
        return self.memo is not None and self.memo.undoing is not None

    @property
    def redriven(self) -> bool:
        """Whether it has been a dead letter before."""
        return self.memo is not None and self.memo.redriven > 0

    def row(self, flow: int, state: State, now: int, *, next_at: int = 0, reason: str = "") -> Progress:
        """The row of progress that says `state`. Ended well, it needs no key; a dead letter may come back to its
        lane."""
        if self.floating and state not in (State.DONE, State.DISCARDED):
            self.notes.version = self.version.number
        key = None if state in (State.DONE, State.DISCARDED) else self.key
        if not reason and self.memo is not None and self.memo.undoing is not None:
            reason = f"compensating: {self.memo.undoing.reason}"
        return Progress(
            flow=flow, seq=self.seq, state=state, at=now, attempt=self.attempt, next_at=next_at, key=key,
            parts=len(self.parts or ()) if state is State.SPLIT else 0, reason=reason,
            memo=pack(self.memo) if self.memo is not None else b"",
        )  # fmt: skip


def origin_of(flow: str, dedupe: str) -> str:
    """The origin of a message with a dedupe id: the same wherever and whenever its flow accepts it.

    A store that was restored from a backup gives a message that is sent again another number, but not another origin:
    what targets were told before the loss bears the same names.
    """
    return blake2b(f"default\x1f{flow}\x1f{dedupe}".encode(), digest_size=16).hexdigest()


def effect_key(flow: str, origin: str, step: str, branch: str) -> str:
    """The stable name of an effect: 32 hex digits of a hash over tenant, flow, the message's origin, step and branch.

    Neither the attempt nor the node, the time or the flow's version is in it, so every attempt ever made bears the
    same name.
    """
    text = f"default\x1f{flow}\x1f{origin}\x1f{step}\x1f{branch}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


def named(memo: Memo | None, flow: str, message_id: str, step: str, branch: str) -> tuple[str, str, Effect | None]:
    """An effect's key, the branch that is in it, and what is known of it.

    What was undone and is made again is another effect with another name: the target remembers the first one.
    """
    key, place = effect_key(flow, message_id, step, branch), branch
    known = memo.effects.get(key) if memo is not None else None
    rounds = 1
    while memo is not None and known is not None and known.state == "compensated":
        rounds += 1
        place = again(branch, rounds)
        key = effect_key(flow, message_id, step, place)
        known = memo.effects.get(key)
    return key, place, known


def place(branch: str) -> str:
    """The branches and rounds that a step is in, as a record tells it: `loop/3`."""
    return _ROUND.sub("", branch).lstrip("/") if branch else ""


def again(branch: str, rounds: int) -> str:
    """The branch in the key of an effect that is made for the so-manieth time, each earlier one having been undone."""
    return branch if rounds == 1 else f"{branch}~{rounds}"


def own_trace(message: Message) -> str:
    """A trace id for a message that came without one: the store's mark and the message's number, which nobody else
    has."""
    mark = message.id.partition("-")[0].encode().hex()[:16]
    return f"{mark:0<16}{message.ref:016x}"


def traceparent(message: Message, key: str, attempt: int, now_ms: int) -> str:
    """The W3C traceparent an attempt carries: the message's trace (its own if none came in) and a span that no other
    attempt has. The time tells those apart that count as one: after a pause, or again from 1 on after a redrive."""
    inbound = message.trace
    trace = inbound[3:35] if inbound else own_trace(message)
    span = blake2b(f"{key}\x1f{attempt}\x1f{now_ms}".encode(), digest_size=8).hexdigest()
    return f"00-{trace}-{span}-{inbound[53:55] if inbound else '01'}"
