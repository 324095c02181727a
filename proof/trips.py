"""What must be seen of trips: each is forward-complete, or everything that was done for it is undone in reverse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dovetail.testkit.history import Effect, Event, Seen
from proof.day import Day


def problems(
    day: Day, events: Sequence[Event], surprised: bool = False, told: Sequence[Event] | None = None
) -> list[str]:
    """What is wrong with the effects, in the order in which they took place. `surprised`: a failpoint raised, so a trip
    that was agreed upon may have failed for good. `told`: what a store knows of, if it need not know them all."""
    known = None if told is None else {event.id for event in told if isinstance(event, Seen)}
    found: list[str] = []
    for item in day.items:
        if item.flow == "trips" and (known is None or item.id in known):
            done = [event.part for event in events if isinstance(event, Effect) and event.id == item.id]
            found += [f"{item.id}: {problem} ({done})" for problem in _problems(item.document, done, surprised)]
    return found


def _problems(trip: Mapping[str, Any], done: list[str], surprised: bool) -> list[str]:
    legs = list(trip["legs"])
    made = [leg for leg in legs if leg in done]
    undone = [leg for leg in legs if f"{leg}-undone" in done]
    final = "final" in done
    if final != trip["agreed"] and not (surprised and not final):
        return ["the target says it is final" if final else "it is not final"]
    if final:
        return [] if made == legs and not undone else [f"it is final with {made}, of which {undone} undone"]
    if made != legs and not surprised:
        return [f"only {made} took place"]
    if not set(made) <= set(undone):
        return [f"{made} took place, and only {undone} are undone"]
    places = [done.index(f"{leg}-undone") for leg in undone]
    return [] if places == sorted(places, reverse=True) else ["not undone in reverse"]
