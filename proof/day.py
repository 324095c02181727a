"""What the senders of a drill have to send, and what must come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dovetail.testkit.history import Want, digest

TARGET, TOGETHER = "accounting", "together"
GIANT = 1_200_000  # characters: too large for a row of the store
LEGS = ("a", "b", "c")


@dataclass(frozen=True, slots=True)
class Item:
    """One message: where it goes, what it is, what it must cause, and how its dead letter's reason begins if it has to
    stay one."""

    id: str
    flow: str
    path: str
    document: Mapping[str, Any]
    wants: Sequence[Want] = ()
    may: Sequence[Want] = ()  # what it causes together with others, which it does not wait for
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
    together: set[str] = field(default_factory=set)  # ids of those that are billed in groups
    _giants: int = 0

    def __init__(
        self,
        orders: int,
        careful: int,
        batches: int,
        bad: int,
        groups: int = 0,
        shipping: int = 0,
        trips: int = 0,
        giant: int = 0,
        pad: int = 0,
    ) -> None:
        """So many of each kind, mixed. `giant`: so many orders have bodies that lie in files; `pad`: characters
        that make some of the others larger."""
        self.items, self.places, self.together = [], {}, set()
        self._giants = giant
        kinds = [self._order] * orders + [self._careful] * careful + [self._batch] * batches + [self._bad] * bad
        kinds += [self._grouped] * groups + [self._shipped] * shipping + [self._trip] * trips
        for n in range(len(kinds)):
            kinds[(n * 7) % len(kinds) if len(kinds) % 7 else n](n, "x" * pad if n % 5 == 3 else "")

    def dead(self) -> int:
        """How many have to stay dead letters."""
        return sum(1 for item in self.items if item.stands)

    def _order(self, n: int, pad: str) -> None:
        id, lane, paid = f"o{n}", f"k{n % 4}", n % 5 != 4
        if self._giants and paid:
            self._giants, pad = self._giants - 1, (f"{n} " * GIANT)[:GIANT]
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

    def _grouped(self, n: int, pad: str) -> None:
        """Billed with up to two others of its shop: three together, two that time out alone, and again."""
        id, place = f"g{n}", len(self.together)
        document = {"id": id, "shop": place // 5 if place % 5 < 3 else f"{n} alone", "total": "1.00", "pad": pad}
        may = [(TARGET, TOGETHER, [sent(TOGETHER, f"{size}.00") for size in (1, 2, 3)])]
        self.items.append(Item(id, "groups", "/groups", document, may=may))
        self.together.add(id)

    def _shipped(self, n: int, pad: str) -> None:
        """Two messages: the order, which waits, and its payment, which may be there first."""
        id = f"s{n}"
        order = Item(id, "shipping", "/shipping", {"id": id, "total": "2.00"}, [(TARGET, "", [sent(id, "2.00")])])
        self.items += [order, paid(id)] if n % 3 else [paid(id), order]
        self.places[id] = Place("shipping", id)

    def _trip(self, n: int, pad: str) -> None:
        """What it causes depends on how it ends: see `proof.trips`."""
        trip = {"id": f"t{n}", "legs": list(LEGS), "total": "3.00", "agreed": n % 2 == 0}
        parts = [*LEGS, *(f"{leg}-undone" for leg in LEGS), "final"]
        may = [(TARGET, part, [sent(f"t{n}-{part}", "3.00")]) for part in parts]
        self.items.append(Item(f"t{n}", "trips", "/trips", trip, may=may))
        self.places |= {f"t{n}-{part}": Place("trips", f"t{n}", part) for part in parts}

    def of(self, reference: str) -> list[Place]:
        """What a reference stands for: several messages if they are billed together (`g1+g3+`)."""
        if reference.endswith("+"):
            return [Place("groups", id, TOGETHER) for id in reference[:-1].split("+")]
        return [self.places.get(reference, Place("unknown", reference))]

    def _bad(self, n: int, pad: str) -> None:
        """Without a total, for which the target says 400."""
        id, lane = f"x{n}", "k-bad"
        document = {"id": id, "customer": lane, "paid": True, "pad": pad}
        self.items.append(Item(id, "orders", "/orders", document, stands="http_400", lane=lane))
        self.places[id] = Place("orders", id, "", lane)


def paid(id: str) -> Item:
    """The payment of an order."""
    return Item(f"{id}-paid", "paid", "/paid", {"id": id})


def sent(reference: str, total: str) -> str:
    """The hash of what the target must be sent."""
    return digest(f"{reference} {total}".encode())
