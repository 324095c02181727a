"""A small working day of the fault project: senders that repeat until they are told yes, an operator who redrives.

It is safe to begin again after the server died.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from dovetail.testkit.processes import until
from proof import trips
from proof.server import Server
from proof.target import Ledger

ORDERS: list[dict[str, Any]] = [
    {"id": n, "customer": f"c{n % 3}", "paid": n % 5 != 4, "total": f"{n}.00"} for n in range(100, 112)
]
CAREFUL: list[dict[str, Any]] = [{"id": n, "total": "5.00"} for n in range(200, 203)]
BATCHES: list[dict[str, Any]] = [
    {"id": f"b{b}", "orders": [{"id": f"{b}-{n}", "total": "1.00"} for n in range(3)]} for b in range(300, 302)
]
GROUPS: list[dict[str, Any]] = [{"id": f"g{n}", "shop": n % 2, "total": "1.00"} for n in range(8)]  # by count and time
SHIPPED: list[dict[str, Any]] = [{"id": f"s{n}", "total": "2.00"} for n in range(3)]  # each waits until it is paid
BAD: list[dict[str, Any]] = [
    {"id": f"bad{n}", "customer": "c9", "paid": True} for n in range(2)
]  # no total: the target says 400

PAID = [o for o in ORDERS if o["paid"]]
EXPECTED = Counter(
    [str(o["id"]) for o in PAID]
    + [f"{o['id']}-ledger" for o in PAID]
    + [str(o["id"]) for o in CAREFUL]
    + [str(o["id"]) for batch in BATCHES for o in batch["orders"]]
    + [str(o["id"]) for o in GROUPS + SHIPPED]
)
WORK: list[tuple[str, dict[str, Any]]] = [
    *(("/groups", o) for o in GROUPS), *(("/shipping", o) for o in SHIPPED[:2]),
    *(("/orders", o) for o in ORDERS + BAD), *(("/careful", o) for o in CAREFUL),
    *(("/batches", b) for b in BATCHES), *(("/paid", o) for o in SHIPPED),
    *(("/shipping", o) for o in SHIPPED[2:]),
    *(("/trips", t) for t in trips.TRIPS),
]  # fmt: skip


def members(references: Counter[str]) -> Counter[str]:
    """The same with those counted one by one that were billed together: `g1+g3+`."""
    found: Counter[str] = Counter()
    for reference, count in references.items():
        for member in reference.rstrip("+").split("+"):
            found[member] += count
    return found


class Story:
    """One day. `failures` counts the times that a sender was told to come back."""

    def __init__(self, server: Server, target: Ledger) -> None:
        self.server, self.target = server, target
        self.left = list(WORK)
        self.refused = 0

    def play(self) -> bool:
        """To the end; False when the server died on the way."""
        return self.send() and self.settle() and all(self.redrive() and self.settle() for _ in range(2))

    def send(self) -> bool:
        """Everything that has not been taken yet."""
        while self.left:
            path, document = self.left[0]
            status = self.server.send(path, document)
            if status == 0:
                return False
            if status in (500, 503):
                self.refused += 1
                until("it takes messages again", self._open)
                continue
            assert status in (200, 202), f"{path} {document}: {status}"
            del self.left[0]
        return True

    def _open(self) -> bool:
        return self.server.dead() or self.server.flows() is not None

    def settle(self) -> bool:
        """Until nothing is pending and only those are dead that must be; False when the server died."""
        self.target.fails = 0
        return until("everything is settled", self._settled) == "settled"

    def _settled(self) -> str:
        if self.server.dead():
            return "dead"
        flows = self.server.flows()
        if not flows or any(flow["pending"] for flow in flows.values()):
            return ""
        if sum(flow["dead"] for flow in flows.values()) > len(BAD):  # a failpoint that raised leaves a dead letter
            self._redriven()
            return ""
        billed = members(self.target.references())  # a group that is not complete is no message yet
        together = all(billed[str(order["id"])] for order in GROUPS)
        return "settled" if together and flows["ledger"]["done"] == len(PAID) else ""

    def redrive(self) -> bool:
        """Dead letters once more, as they are; False when the server died."""
        return until("they are redriven", self._redriven) == "redriven"

    def _redriven(self) -> str:
        if self.server.dead():
            return "dead"
        flows = self.server.flows() or {}
        orders = [{"search": {"flow": flow, "states": ["dead"]}, "by": "operator"} for flow in flows]
        asked = [self.server.ask("POST", "/api/redrive", order) is not None for order in orders]
        return "redriven" if asked and all(asked) else ""

    def problems(self, ordered: bool) -> list[str]:
        """What the target's log and the server's books say against the promise. `ordered`: no order was a dead letter
        on the way, so each customer's invoices came in the order of their orders."""
        found = []
        if ordered:
            found += self._disorder()
        effects = [effect.reference for effect in list(self.target.effects)]
        found += trips.problems([reference for reference in effects if trips.is_trip(reference)], not ordered)
        done = members(Counter(reference for reference in effects if not trips.is_trip(reference)))
        if done != EXPECTED:
            found.append(f"effects missing: {dict(EXPECTED - done)}; too many: {dict(done - EXPECTED)}")
        flows = self.server.flows() or {}
        if not flows or flows["orders"]["accepted"] != len(ORDERS) + len(BAD):
            found.append(f"accepted is not what was sent: {flows}")
        for name, flow in flows.items():
            if flow["accepted"] != flow["done"] + flow["discarded"] + flow["dead"] + flow["pending"]:
                found.append(f"{name}: the books do not add up: {flow}")
        return found

    def _disorder(self) -> list[str]:
        place = {str(order["id"]): n for n, order in enumerate(PAID)}
        customer = {str(order["id"]): order["customer"] for order in PAID}
        last: dict[object, int] = {}
        for effect in list(self.target.effects):
            if effect.reference in place:
                key, now = customer[effect.reference], place[effect.reference]
                if now < last.get(key, -1):
                    return [f"order {effect.reference} of {key} was done after a later one"]
                last[key] = now
        return []
