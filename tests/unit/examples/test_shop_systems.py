"""The systems of the shop example, called as other systems call them."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

SYSTEMS = Path(__file__).resolve().parents[3] / "examples" / "shop" / "systems"
ORDER = {
    "reference": "5901",
    "customer": {"id": "66"},
    "currency": "EUR",
    "total": "12.90",
    "lines": [{"sku": "MUG-WHT-350", "quantity": 2}],
}


class Running:
    """A system's process, its ports and its database."""

    def __init__(self, name: str, folder: Path) -> None:
        self.database = folder / f"{name}.sqlite"
        command = [sys.executable, str(SYSTEMS / f"{name}.py"), "--db", str(self.database), "--token", "t0k"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout
        ports = json.loads(self.process.stdout.readline())
        self.port, self.control = ports["port"], ports["control"]

    def call(self, path: str, body: object, key: str | None = None) -> tuple[int, Any, str | None]:
        """POST to the service port: status, answer, whether it was replayed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": "Bearer t0k"} | ({"Idempotency-Key": key} if key else {})
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request("POST", path, raw, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read()), response.getheader("Idempotent-Replayed")
        finally:
            connection.close()

    def faults(self, **knobs: object) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=10)
        connection.request("PUT", "/faults", json.dumps(knobs))
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    def rows(self, query: str) -> list[Any]:
        connection = apsw.Connection(str(self.database), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    running: list[Running] = []

    def start(name: str) -> Running:
        running.append(Running(name, tmp_path))
        return running[-1]

    yield start
    for system in running:
        system.process.terminate()
        assert system.process.wait(10) == 0
        assert system.process.stdout
        system.process.stdout.close()


def test_a_repeated_key_gets_the_first_answer_and_no_second_order(start: Callable[[str], Running]) -> None:
    erp = start("erp")
    first = erp.call("/sales-orders", ORDER, "k1")
    again = erp.call("/sales-orders", ORDER, "k1")
    assert first == (201, {"id": "SO-1", "reference": "5901", "total": "12.90", "status": "open"}, None)
    assert again == (*first[:2], "true")
    assert erp.call("/sales-orders", {**ORDER, "total": "1.00"}, "k1")[0] == 422
    assert erp.rows("SELECT reference, total FROM sales_orders") == [("5901", "12.90")]
    assert erp.rows("SELECT key, status, note FROM calls") == [
        ("k1", 201, ""),
        ("k1", 201, "replayed"),
        ("k1", 422, "refused"),
    ]


def test_without_a_key_a_repeat_is_a_second_invoice(start: Callable[[str], Running]) -> None:
    accounting = start("accounting")
    assert [accounting.call("/invoices", ORDER)[1]["invoice"] for _ in range(2)] == ["INV-1", "INV-2"]


def test_what_cannot_be_reserved_changes_nothing(start: Callable[[str], Running]) -> None:
    warehouse = start("warehouse")
    too_much = {**ORDER, "lines": [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 10**9}]}
    assert warehouse.call("/reservations", too_much, "k1")[0] == 409
    assert warehouse.rows("SELECT count(*) FROM reservations") == [(0,)]
    assert warehouse.call("/reservations", ORDER, "k2")[0] == 201
    assert warehouse.rows("SELECT sku, 1000000 - free FROM stock") == [("MUG-WHT-350", 2)]
    for key in ("k3", "k4"):
        assert warehouse.call("/reservations/R-1/release", {}, key)[1]["state"] == "released"
    assert warehouse.rows("SELECT free FROM stock") == [(1_000_000,)]


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"reference": "1"}'])
def test_a_bad_document_is_refused_with_a_reason(start: Callable[[str], Running], body: bytes) -> None:
    status, answer, _ = start("backoffice").call("/ledger-entries", body)
    assert status in (400, 422)
    assert answer["error"]


def test_down_refuses_connections_and_coming_back_serves_the_same_port(start: Callable[[str], Running]) -> None:
    erp = start("erp")
    kept = http.client.HTTPConnection("127.0.0.1", erp.port, timeout=10)
    kept.request("POST", "/sales-orders", json.dumps(ORDER), {"Authorization": "Bearer t0k"})
    assert kept.getresponse().read()
    assert erp.faults(down=True)[1]["down"] is True
    with pytest.raises(ConnectionRefusedError):
        erp.call("/sales-orders", ORDER)
    kept.auto_open = 0
    with pytest.raises((http.client.HTTPException, OSError)):
        kept.request("POST", "/sales-orders", json.dumps(ORDER), {"Authorization": "Bearer t0k"})
        kept.getresponse()
    kept.close()
    assert erp.faults()[1]["down"] is False
    assert erp.call("/sales-orders", ORDER)[0] == 201


def test_the_other_faults(start: Callable[[str], Running]) -> None:
    erp = start("erp")
    erp.faults(error_rate=1.0)
    assert erp.call("/sales-orders", ORDER, "k1")[0] == 503
    assert erp.rows("SELECT count(*) FROM sales_orders") == [(0,)]
    erp.faults(lost_rate=1.0)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        erp.call("/sales-orders", ORDER, "k1")
    erp.faults(garbage_rate=1.0)
    with pytest.raises(ValueError):  # JSON and Unicode errors both are
        erp.call("/sales-orders", ORDER, "k1")
    erp.faults()
    assert erp.call("/sales-orders", ORDER, "k1") == (
        201,
        {"id": "SO-1", "reference": "5901", "total": "12.90", "status": "open"},
        "true",
    )


@pytest.mark.parametrize("knobs", [{"dwon": True}, {"down": "yes"}, {"slow_ms": 1.5}])
def test_an_unknown_knob_is_named(start: Callable[[str], Running], knobs: dict[str, object]) -> None:
    status, answer = start("erp").faults(**knobs)
    assert status == 400
    assert next(iter(knobs)) in answer["error"]
