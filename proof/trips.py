"""What the target's log must say of trips: each is forward-complete, or everything that was done for it is undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

TRIPS: list[dict[str, Any]] = [
    {"id": f"trip{n}", "legs": ["a", "b", "c"], "total": "3.00", "agreed": n % 2 == 0} for n in range(4)
]


def is_trip(reference: str) -> bool:
    """Whether an effect was made for a trip."""
    return reference.startswith("trip")


def problems(done: Sequence[str], surprised: bool) -> list[str]:
    """What is wrong with the effects, in the order in which they took place. `surprised`: a failpoint raised, so a trip
    that was agreed upon may have failed for good."""
    found = [f"{reference} took place {n} times" for reference, n in Counter(done).items() if n > 1]
    for trip in TRIPS:
        found += [f"{trip['id']}: {problem} ({list(done)})" for problem in _problems(trip, list(done), surprised)]
    return found


def _problems(trip: dict[str, Any], done: list[str], surprised: bool) -> list[str]:
    legs = [f"{trip['id']}-{leg}" for leg in trip["legs"]]
    made = [leg for leg in legs if leg in done]
    undone = [leg for leg in legs if f"{leg}-undone" in done]
    final = f"{trip['id']}-final" in done
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
