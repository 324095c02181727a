"""Kill -9 at every named boundary of the engine, restart, drain: one invoice per order, in the books of the target."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dovetail.engine import failpoints

ORDERS = [{"id": n, "customer": f"c{n % 3}", "paid": n % 5 != 4, "total": f"{n}.00"} for n in range(100, 112)]
CAREFUL = [{"id": n, "total": "5.00"} for n in range(200, 203)]
BATCHES = [{"id": f"b{b}", "orders": [{"id": f"{b}-{n}", "total": "1.00"} for n in range(3)]} for b in range(300, 302)]
BAD = [{"id": f"bad{n}", "customer": "c9", "paid": True} for n in range(2)]  # no total: the accounting service says 400

EXPECTED = Counter(
    [str(o["id"]) for o in ORDERS if o["paid"]]
    + [f"{o['id']}-ledger" for o in ORDERS if o["paid"]]
    + [str(o["id"]) for o in CAREFUL]
    + [o["id"] for batch in BATCHES for o in batch["orders"]]
)
WORK = [("/orders", o) for o in ORDERS + BAD] + [("/careful", o) for o in CAREFUL] + [("/batches", b) for b in BATCHES]


class Story:
    """Senders that repeat until they are told yes, an operator who redrives; safe to begin again after a death."""

    def __init__(self, server: Any, accounting: Any) -> None:
        self.server, self.accounting = server, accounting
        self.left = list(WORK)

    def play(self) -> bool:
        """To the end; False when the server died on the way."""
        while self.left:
            path, document = self.left[0]
            status = self.server.send(path, document)
            if status == 0:
                return False
            assert status in (200, 202), f"{path} {document}: {status}"
            del self.left[0]
        self.accounting.faults()
        return self._settled(dead=2) and all(self._redrive() and self._settled(dead=2) for _ in range(2))

    def _settled(self, dead: int) -> bool:
        """Nothing is pending and so many are dead; False when the server died."""

        def over() -> bool:
            if self.server.dead():
                return True
            flows = self.server.flows()
            return bool(
                flows and not any(f["pending"] for f in flows.values()) and flows["orders"]["dead"] == dead
                and flows["ledger"]["done"] == sum(1 for o in ORDERS if o["paid"])
            )  # fmt: skip

        self.server.until("everything is settled", over)
        return not self.server.dead()

    def _redrive(self) -> bool:
        """Dead letters once more, as they are: they die again, and nothing else happens again."""
        order = {"search": {"flow": "orders", "states": ["dead"]}, "by": "test"}
        answer = self.server.ask("POST", "/api/redrive", order)
        return answer is not None


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("name", failpoints.NAMES)
def test_one_invoice_per_order(name: str, hit: int, server: Any, accounting: Any) -> None:
    failpoint = f"{name}:{hit}:kill"
    story = Story(server, accounting)
    accounting.faults(error_rate=0.3)
    if name == "during_recovery":  # there has to be something to recover from
        assert server.start("after_send_before_record:3:kill")
        assert not story.play()
        server.process.wait()
    alive = server.start(failpoint) and story.play()
    if alive and name == "during_drain":
        server.process.terminate()
        if hit == 2:  # a server drains once in its life
            server.process.wait()
            assert server.start(f"{name}:1:kill")
            server.process.terminate()
        alive = False
    assert not alive, f"{failpoint} was never crossed"
    assert server.process.wait() == -9, server.log()

    assert server.start(), server.log()
    assert story.play(), server.log()
    assert Counter(accounting.invoices()) == EXPECTED
    flows = server.flows()
    assert flows["orders"]["accepted"] == len(ORDERS) + len(BAD)
    assert flows["orders"]["discarded"] == sum(1 for o in ORDERS if not o["paid"])
    for flow in flows.values():
        assert flow["accepted"] == flow["done"] + flow["discarded"] + flow["dead"] + flow["pending"]
    assert server.stop() == 0, server.log()
