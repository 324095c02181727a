"""Who writes the history of a drill: senders, the target and the operator, in one order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from threading import Event as ThreadEvent
from threading import Lock
from typing import Literal

from dovetail.testkit.cells import FAULTS
from dovetail.testkit.history import Answer, Call, Crash, Effect, Event, Fault, Send, digest
from dovetail.testkit.processes import PATIENCE, Recorded
from proof.day import TARGET, TOGETHER, Day, Item, Place, sent


class Witness:
    """Events in the order in which they happened, from any thread. `life` is the number of the server's life."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.life = 0
        self._lock = Lock()

    def add(self, *events: Event) -> None:
        """They happened now."""
        with self._lock:
            for event in events:
                self._keep(event)

    def _keep(self, event: Event) -> None:
        self.events.append(event)
        self.added(event)

    def added(self, event: Event) -> None:
        """Called for each one, in their order. Subclasses may write it down elsewhere."""

    def fault(self, name: str, text: str = "") -> None:
        """A fault was injected. Raises KeyError for one that has no name."""
        self.add(Fault(FAULTS[name] and name, text))

    def born(self) -> int:
        """A life begins; an earlier one is over for good. The life's number."""
        with self._lock:
            if self.life:
                self._keep(Crash())
            self.life += 1
            return self.life

    def send(self, op: Literal["invoke", "ok", "fail", "info"], item: Item, ref: str = "") -> None:
        """A sender's word on one of its messages."""
        if op == "invoke":
            hash = digest(json.dumps(item.document).encode())
            self.add(Send(op, item.id, item.flow, hash=hash, wants=item.wants, may=item.may, stands=item.stands))
        else:
            self.add(Send(op, item.id, item.flow, ref=ref))


class Ledger:
    """The target that the fault project calls, as an answer for a `Recorder`.

    `POST /invoices` dedupes by Idempotency-Key; `PUT /legacy/invoices` does not, and is asked with `GET
    /legacy/invoices/{reference}`. Paths begin with `/life/N`, so that calls of a life that is over are told apart.
    `fails` of ten calls are answered 503, spread evenly, so that no breaker opens.
    """

    def __init__(self, day: Day, witness: Witness, fails: int = 0) -> None:
        self.fails = fails
        self.lossy = False  # nobody can say whether an answer is heard
        self.hold = ThreadEvent()  # while it is not set, calls wait for their answer
        self.hold.set()
        self.held = 0  # calls that came while they had to wait
        self.billed: set[str] = set()  # ids of messages that had an effect
        self.counters: Counter[str] = Counter()
        self._day, self._witness = day, witness
        self._done: dict[str, str] = {}  # key → reference
        self._calls = 0
        self._lock = Lock()

    def knows(self, effects: Iterable[Effect]) -> None:
        """It did these earlier."""
        for effect in effects:
            self._done[effect.key] = effect.id
            self.billed.add(effect.id)

    def __call__(self, request: Recorded) -> tuple[int, bytes]:
        if not self.hold.is_set():
            with self._lock:
                self.held += 1
            self.hold.wait(PATIENCE)
        with self._lock:
            life, path = split_life(request.path)
            if request.method == "GET":
                reference = path.rpartition("/")[2]
                known = reference in self._done.values()
                self.counters["asked"] += 1
                return (200, json.dumps({"reference": reference}).encode()) if known else (404, b"{}")
            order = json.loads(request.body)
            reference, key = str(order["reference"]), request.headers.get("idempotency-key", "")
            places = self._day.of(reference)
            self._witness.add(*(Call(TARGET, at.id, key, at.part, at.flow, at.lane) for at in places))
            status = self._act(request, places, order, key)
            word: Literal["done", "rejected", "failed"] = (
                "done" if status < 300 else "rejected" if status < 500 else "failed"
            )
            self._witness.add(Answer(TARGET, key, "lost" if self.lossy or life != self._witness.life else word))
            return status, json.dumps({"reference": reference}).encode()

    def _act(self, request: Recorded, places: Sequence[Place], order: dict[str, object], key: str) -> int:
        if "total" not in order:
            self._witness.fault("schema-drift", "a field is missing")
            self.counters["400"] += 1
            return 400
        self._calls += 1
        if (self._calls * self.fails) % 10 >= 10 - self.fails:
            self._witness.fault("bad-target", "503")
            self.counters["503"] += 1
            return 503
        if request.method == "POST" and key in self._done:
            self.counters["repeat"] += 1
            return 200
        reference = str(order["reference"])
        self._done[key] = reference
        hash = sent(TOGETHER if reference.endswith("+") else reference, str(order["total"]))
        self._witness.add(*(Effect(TARGET, at.id, key, hash, at.part) for at in places))
        self.billed |= {at.id for at in places}
        return 201


def split_life(path: str) -> tuple[int, str]:
    """The life that calls, and the rest of the path."""
    _, word, life, *rest = path.split("/")
    assert word == "life", path
    return int(life), "/" + "/".join(rest)
