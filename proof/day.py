"""What the senders of a drill have to send, and what must come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dovetail.testkit.history import Want, digest

TARGET = "accounting"


@dataclass(frozen=True, slots=True)
class Item:
    """One message: where it goes, what it is, what it must cause, and how its dead letter's reason begins if it has to
    stay one."""

    id: str
    flow: str
    path: str
    document: Mapping[str, Any]
    wants: Sequence[Want] = ()
    stands: str = ""
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What a reference at the target stands for."""

    flow: str
    id: str
    part: str = ""
    lane: str = ""


@dataclass(slots=True)
class Day:
    """Everything that is sent, and what each reference means."""

    items: list[Item] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)

    def __init__(self, orders: int, careful: int, batches: int, bad: int, pad: int = 0) -> None:
        """So many of each kind, mixed. `pad`: characters that make some of the orders larger."""
        self.items, self.places = [], {}
        kinds = [self._order] * orders + [self._careful] * careful + [self._batch] * batches + [self._bad] * bad
        for n in range(len(kinds)):
            kinds[(n * 7) % len(kinds) if len(kinds) % 7 else n](n, "x" * pad if n % 5 == 3 else "")

    def dead(self) -> int:
        """How many have to stay dead letters."""
        return sum(1 for item in self.items if item.stands)

    def _order(self, n: int, pad: str) -> None:
        id, lane, paid = f"o{n}", f"k{n % 4}", n % 5 != 4
        document = {"id": id, "customer": lane, "paid": paid, "total": f"{n}.00", "pad": pad}
        wants = [(TARGET, "", [sent(id, f"{n}.00")]), (TARGET, "ledger", [sent(f"{id}-ledger", f"{n}.00")])]
        self.items.append(Item(id, "orders", "/orders", document, wants if paid else (), lane=lane))
        self.places[id] = Place("orders", id, "", lane)
        self.places[f"{id}-ledger"] = Place("ledger", id, "ledger")

    def _careful(self, n: int, pad: str) -> None:
        id = f"c{n}"
        wants = [(TARGET, "", [sent(id, "5.00")])]
        self.items.append(Item(id, "careful", "/careful", {"id": id, "total": "5.00", "pad": pad}, wants))
        self.places[id] = Place("careful", id)

    def _batch(self, n: int, pad: str) -> None:
        id = f"b{n}"
        parts = [f"{id}-{m}" for m in range(3)]
        document = {"id": id, "orders": [{"id": part, "total": "1.00", "pad": pad} for part in parts]}
        wants = [(TARGET, part, [sent(part, "1.00")]) for part in parts]
        self.items.append(Item(id, "batches", "/batches", document, wants))
        self.places |= {part: Place("batches", id, part) for part in parts}

    def _bad(self, n: int, pad: str) -> None:
        """Without a total, for which the target says 400."""
        id, lane = f"x{n}", "k-bad"
        document = {"id": id, "customer": lane, "paid": True, "pad": pad}
        self.items.append(Item(id, "orders", "/orders", document, stands="http_400", lane=lane))
        self.places[id] = Place("orders", id, "", lane)


def sent(reference: str, total: str) -> str:
    """The hash of what the target must be sent."""
    return digest(f"{reference} {total}".encode())
