"""The system that the fault project calls: it keeps its own log of what it did, in the order in which it did it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from dovetail.testkit.processes import Recorded


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that the target did: under which key, for which reference of ours, and what it was sent."""

    key: str
    reference: str
    body: bytes


class Ledger:
    """Answers for a `Recorder`: `POST /invoices` dedupes by Idempotency-Key, `PUT /legacy/invoices` does not and can be
    asked with `GET /legacy/invoices/{reference}`.

    `fails` of ten calls that would do something are answered 503 first, spread evenly, so that no breaker opens.
    `on_effect` is called before the answer is given.
    """

    def __init__(self, fails: int = 0, on_effect: Callable[[Effect], None] = lambda effect: None) -> None:
        self.fails = fails
        self.on_effect = on_effect
        self.effects: list[Effect] = []
        self.repeats = 0  # calls that the target had already done
        self._by_key: dict[str, Effect] = {}
        self._calls = 0
        self._lock = Lock()

    def __call__(self, request: Recorded) -> tuple[int, bytes]:
        with self._lock:
            return self._answer(request)

    def _answer(self, request: Recorded) -> tuple[int, bytes]:
        if request.method == "GET":
            reference = request.path.rpartition("/")[2]
            found = any(effect.reference == reference for effect in self.effects)
            return (200, json.dumps({"reference": reference}).encode()) if found else (404, b"{}")
        order = json.loads(request.body)
        if "total" not in order:
            return 400, b'{"error": "no total"}'
        self._calls += 1
        if (self._calls * self.fails) % 10 >= 10 - self.fails:
            return 503, b"{}"
        key = request.headers.get("idempotency-key", "")
        if request.method == "POST" and key in self._by_key:
            self.repeats += 1
        else:
            effect = Effect(key, str(order["reference"]), request.body)
            self._by_key[key] = effect
            self.effects.append(effect)
            self.on_effect(effect)
        return 201, json.dumps({"reference": order["reference"]}).encode()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.effects.clear()
            self._by_key.clear()

    def references(self) -> Counter[str]:
        """How often something was done for each reference."""
        with self._lock:
            return Counter(effect.reference for effect in self.effects)
