"""Events that messages wait for: who waits, what has come, and what is remembered for those who come later.

All of it is shared memory, by the event's name and key. The head is `{waiting, event, until}`: how many wait, and an
event that is remembered until a time. The list holds those who wait, each at a place that nobody else ever has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dovetail.engine.memory import Keeper, Slot

SHARED = 0  # the flow number of memory that all flows share
NOTHING: Mapping[str, Any] = {"waiting": 0, "event": None, "until": 0}
EVENTS = "event:"  # the scope of an event's memory begins so


class Signals:
    """`rouse` runs a flow's waiting message again, and tells whether somebody can still hear the event: one that waits,
    or a dead letter, which may be taken up again. `now` is the engine's time."""

    def __init__(self, keeper: Keeper, rouse: Callable[[int, int], bool], now: Callable[[], int]) -> None:
        self._keeper, self._rouse, self._now = keeper, rouse, now

    def _slot(self, name: str, key: str) -> Slot:
        return self._keeper.slot(SHARED, f"{EVENTS}{name}", key)

    def expect(self, flow: int, ref: int, name: str, key: str, place: int, info: Mapping[str, Any]) -> None:
        """A message waits for it at this place (a positive number made of the name of the wait)."""
        slot = self._slot(name, key)
        head = slot.value or NOTHING
        slot.put({**head, "waiting": head["waiting"] + (slot.get(place) is None)})
        slot.set(place, self._keeper.codec.encode({"flow": flow, "ref": ref, "info": dict(info), "event": None}))

    def heard(self, name: str, key: str, place: int) -> Any:
        """The event that came for this place, or one that is still remembered; None if there is none."""
        slot = self._slot(name, key)
        waiting = slot.get(place)
        event = self._keeper.codec.decode(waiting)["event"] if waiting is not None else None
        head = slot.value or NOTHING
        if event is None and head["until"] > self._now():
            event = head["event"]
        return event

    def leave(self, name: str, key: str, place: int) -> None:
        """Nobody waits there any more."""
        slot = self._slot(name, key)
        if slot.get(place) is None:
            return
        slot.set(place, None)
        self._left(slot, 1)

    def _left(self, slot: Slot, count: int) -> None:
        head = slot.value or NOTHING
        if head["waiting"] > count or head["until"] > self._now():
            slot.put({**head, "waiting": head["waiting"] - count})
        else:
            slot.clear()

    def tell(self, name: str, key: str, event: Any, remember: int = 0) -> int:
        """Bring the event to those who wait, and remember it. To how many it was brought."""
        slot, codec = self._slot(name, key), self._keeper.codec
        told = gone = 0
        for place, data in slot.items() if slot.value is not None else ():
            waiting = codec.decode(data)
            if waiting["event"] is not None:
                continue
            if self._rouse(waiting["flow"], waiting["ref"]):
                slot.set(place, codec.encode({**waiting, "event": event}))
                told += 1
            else:  # it was ended by other means
                slot.set(place, None)
                gone += 1
        if remember > 0:
            until = self._now() + remember
            slot.put({**(slot.value or NOTHING), "event": event, "until": until}, until)
        if gone:
            self._left(slot, gone)
        return told

    def expired(self, slot: Slot) -> None:
        """Its event need not be remembered any longer."""
        head = slot.value or NOTHING
        if head["waiting"] > 0:
            slot.put({**head, "event": None, "until": 0}, 0)
        else:
            slot.clear()
