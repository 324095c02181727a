"""The narrow door through which running steps reach the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dovetail.clock import Clock
from dovetail.engine.effects import in_doubt
from dovetail.engine.journey import Journey, effect_key, place
from dovetail.engine.lanes import PARTS
from dovetail.engine.memo import Effect, meta_of, pack_meta
from dovetail.engine.policies.retry import exhausted
from dovetail.engine.priority import said
from dovetail.engine.state import RunState
from dovetail.sdk import Context, Log, Message, Operation, Outcome, Reply, Saga, Sink, State
from dovetail.store.base import Entry

if TYPE_CHECKING:
    from dovetail.engine.flow import FlowRun


class RunContext:
    """What steps of one flow and branch are given."""

    def __init__(self, flow: FlowRun, branch: str = "") -> None:
        self._flow = flow
        self._branch = branch
        self.log: Log = flow.engine.log
        self.clock: Clock = flow.engine.clock
        self.state: State = RunState(flow, branch)
        self._branches: dict[str, RunContext] = {}

    def branch(self, label: str) -> Context:
        """A context whose effects are named apart by `label`."""
        found = self._branches.get(label)
        if found is None:
            found = RunContext(self._flow, f"{self._branch}/{label}")
            if len(self._branches) < 1000:
                self._branches[label] = found
        return found

    def _journey(self, message: Message) -> Journey:
        return self._flow.active[message.ref]

    async def call(
        self, step: str, operation: Operation, message: Message, args: Mapping[str, Any] | None = None,
        timeout: float | None = None, saga: Saga | None = None,
    ) -> Reply:  # fmt: skip
        """Make the effect `step` of `message`, once per message and branch."""
        return await self._flow.effects.call(
            self._journey(message), step, self._branch, operation, message, args, timeout, saga
        )

    async def write(
        self, step: str, sink: Sink, batch: Sequence[Message], args: Sequence[Mapping[str, Any]] | None = None,
        timeout: float | None = None, sagas: Sequence[Saga] | None = None,
    ) -> list[Outcome]:  # fmt: skip
        """Write the batch through the sink; one outcome per message, in order."""
        pairs = [(self._journey(message), message) for message in batch]
        return await self._flow.effects.write(step, self._branch, sink, pairs, args, timeout, sagas)

    async def decide(self, step: str, message: Message, value: Any) -> None:
        """Record what a step decided; flushed when this returns."""
        self.state.decide(step, message, value)
        await self._flow.engine.writer.barrier()

    def publish(self, step: str, topic: str, message: Message) -> None:
        """Append to a durable topic, in the transaction of the message's next move; once per message and branch."""
        journey = self._journey(message)
        key = effect_key(self._flow.name, message.origin, step, self._branch)
        if journey.memo is not None and key in journey.memo.effects:
            return
        engine = self._flow.engine
        now = engine.clock.now_ms()
        entry = Entry(
            stream=engine.stream(f"topic:{topic}"), at=now, version=0,
            meta=pack_meta(meta_of(message, parent=message.id, origin=key)), body=message.body, key=message.key,
            priority=journey.priority,
        )  # fmt: skip
        if journey.outbox is None:
            journey.outbox = []
        if len(entry.body) > engine.store.large:
            engine.spawn(engine.store.stow([entry]))  # the commit waits for the rest of it
        journey.outbox.append((entry, None))  # each subscriber reads the bytes for itself: values may be changed
        effect = Effect(
            step=step,
            branch=place(self._branch),
            target=f"topic:{topic}",
            state="done",
            attempt=journey.attempt,
            at=now,
        )
        journey.notes.effects[key] = effect
        self._flow.touch(journey)  # a row that tells of it must not be written without it

    def split(self, step: str, message: Message, parts: Sequence[Message]) -> None:
        """End this pass of `message`; its parts go on as messages of their own."""
        journey = self._journey(message)
        flow = self._flow
        now = flow.engine.clock.now_ms()
        start = journey.version.index[step] + 1
        json = flow.engine.codecs.by_name("json")
        journey.parts = [
            Entry(
                stream=flow.stream, at=now, version=journey.version.number, body=part.body,
                meta=pack_meta(
                    meta_of(
                        part, parent=message.id, index=index, owner=flow.number,
                        variables=json.encode(part.variables) if part.variables else b"",
                        origin=effect_key(flow.name, message.origin, step, f"{self._branch}/part/{index}"),
                    )
                ),
                key=f"{PARTS}{part.key}" if part.key is not None and part.key != message.key else None,
                parent=journey.seq, start=start, priority=said(journey.priority, flow.sorts),
            )
            for index, part in enumerate(parts)
        ]  # fmt: skip

    def reply(self, message: Message, status: int = 200) -> None:
        """Answer the caller who waits, if one does, when this message's outcome is recorded."""
        self._journey(message).reply = (message, status)

    async def pause(self, message: Message, seconds: float) -> None:
        """Hold the message for a while; its place and its lane stay its own."""
        await asyncio.sleep(seconds)

    def in_doubt(self, message: Message) -> bool:
        """Whether an effect of this branch is in doubt that cannot simply be made again."""
        return in_doubt(self._journey(message).memo, self._branch)

    def last_attempt(self, message: Message) -> bool:
        """Whether a transient failure now would be the end of the message."""
        journey = self._journey(message)
        if journey.last is None:
            now = self._flow.engine.steady_ms()
            first = journey.memo.first_try_at if journey.memo is not None else 0
            journey.last = exhausted(journey.version.policy, journey.attempt, first or now, now)
        return journey.last
