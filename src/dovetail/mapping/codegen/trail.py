"""Where in the input a value comes from, so that an error can name it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

#: items of a list among which the one at fault is looked for
SEARCHED = 100_000


class Trail(NamedTuple):
    """names: the fields from the root. loops: (how many names come before, the item's Python name, its list's)."""

    names: tuple[str, ...] = ()
    loops: tuple[tuple[int, str, str], ...] = ()
    origin: str | None = None

    def step(self, name: str) -> Trail:
        return Trail((*self.names, name), self.loops)

    def loop(self, item: str, items: str) -> Trail:
        return Trail(self.names, (*self.loops, (len(self.names), item, self.origin or items)))

    def filtered(self, items: str) -> Trail:
        """After a filter, places still count in the list before it."""
        return Trail(self.names, self.loops, self.origin or items)

    def outside(self) -> Trail:
        """After a loop its places are no longer known."""
        return Trail(self.names)

    def show(self, values: Mapping[str, Any]) -> str:
        """`lines[2].price`, given the running code's variables."""
        places: dict[int, str] = {}
        for depth, item, items in self.loops:
            found, listed = values.get(item), values.get(items)
            if isinstance(listed, list):
                index = next((place for place, one in enumerate(islice(listed, SEARCHED)) if one is found), None)
                if index is not None:
                    places[depth] = f"[{index}]"
        text = "$" + places[0] if 0 in places else ""
        for place, name in enumerate(self.names, 1):
            plain = name.isidentifier()
            text += ("." if text else "") + (name if plain else f"`{name}`") + places.get(place, "")
        return text or "$"
