"""Two real CSV files become one document per order in the ERP: every line, exact amounts, right names, each once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dovetail.testkit.processes import Dovetail, Recorder, until

PROJECT = Path(__file__).parent / "northwind"


def read(file: Path) -> str:
    return file.read_text("utf-8")


def expected(folder: Path) -> dict[str, Any]:
    """The documents by order number, read another way: a comma before a space belongs to the text."""
    lines: dict[str, list[Any]] = {}
    for row in csv.DictReader(io.StringIO(read(folder / "order-details.csv"))):
        lines.setdefault(row["orderID"], []).append(
            {"product": row["productID"], "quantity": int(row["quantity"]), "unit_price": row["unitPrice"],
             "discount": row["discount"]}
        )  # fmt: skip
    documents = {}
    for line in read(folder / "orders.csv").splitlines()[1:]:
        number, customer, _, ordered, _, shipped, _, freight, name, street, city, region, postcode, country = (
            None if part == "NULL" else part.replace("\1", ", ") for part in line.replace(", ", "\1").split(",")
        )
        documents[number] = {
            "number": number, "customer": customer, "ordered_on": ordered[:10],
            "shipped_on": shipped and shipped[:10], "freight": freight,
            "ship_to": {"name": name, "street": street, "city": city, "region": region, "postcode": postcode,
                        "country": country},
            "lines": lines[number],
        }  # fmt: skip
    return documents


@pytest.fixture
def erp() -> Any:
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def server(servers: Callable[..., Dovetail], erp: Recorder, inbox: Path, tmp_path: Path) -> Dovetail:
    return servers(PROJECT, folder=tmp_path, INBOX=str(inbox), LINES=str(tmp_path / "lines"), ERP_URL=erp.url)


def drop(folder: Path, name: str, text: str, encoding: str = "utf-8") -> None:
    """A file arrives."""
    (folder / f"{name}.part").write_text(text, encoding)
    (folder / f"{name}.part").rename(folder / name)


def test_orders_with_their_lines_through_two_kills(server: Dovetail, erp: Recorder, inbox: Path, data: Path) -> None:
    northwind = data / "tabular-mdm/northwind"
    documents = expected(northwind)
    assert len(documents) == 830 and sum(len(order["lines"]) for order in documents.values()) == 2155
    assert server.start(DOVETAIL_FAILPOINT="after_accept_commit_before_answer:4:kill"), server.log()
    drop(inbox, "order-details.csv", read(northwind / "order-details.csv"))
    server.settled(lines=1)
    drop(inbox, "orders.csv", read(northwind / "orders.csv"), "latin-1")
    until("the first kill, in the middle of the file", server.dead)
    assert '"file":"orders.csv"' not in server.log(), "it had been read to its end"
    assert server.start(), server.log()
    until("the ERP has some of the orders", lambda: len(erp.done) > 100)
    server.kill()
    assert len(erp.done) < 830, "the second kill came too late to mean anything"
    assert server.start(), server.log()
    flows = server.settled(orders=830)
    assert (flows["orders"]["done"], flows["orders"]["dead"]) == (830, 0)
    stored = [json.loads(body) for body in erp.bodies("/orders")]
    assert len(stored) == 830, "an order was created under two keys"
    assert {order["number"]: order for order in stored} == documents
    until("the file is in the archive", lambda: (inbox / "done/orders.csv").exists())
    assert not [file.name for file in inbox.glob("*.csv*")]


def test_good_rows_go_on_and_bad_ones_are_kept(server: Dovetail, erp: Recorder, inbox: Path, data: Path) -> None:
    text = read(data / "tabular-mdm/northwind/customers.csv")
    lines = text.splitlines()
    width = len(lines[0].split(","))
    bad = {number: line for number, line in enumerate(lines, 1) if len(line.split(",")) != width}
    assert (len(lines) - 1, len(bad)) == (91, 24)
    assert server.start(), server.log()
    drop(inbox, "customers.csv", text, "latin-1")
    flows = server.settled(customers=91)
    assert (flows["customers"]["done"], flows["customers"]["dead"]) == (91 - 24, 24)

    stored = [json.loads(body) for body in erp.bodies("/customers/ALFKI")]
    assert [customer["companyName"] for customer in stored] == ["Alfreds Futterkiste"]
    names = {json.loads(request.body)["companyName"] for request in erp.done.values()}
    assert names == {row["companyName"] for row in csv.DictReader(io.StringIO(text)) if None not in row}

    dead = server.messages(flow="customers", state="dead")
    assert len(dead) == 24
    assert {int(line) for line in bad} == {int(server.show(message["id"])["headers"]["file-line"]) for message in dead}
    assert all("the row has 12 fields where 11 are expected" in message["reason"] for message in dead)

    [report] = until("the report", lambda: list((inbox / "bad").glob("*.report.json")))
    said = json.loads(report.read_text())
    assert [row["line"] for row in said["bad"]] == sorted(bad)
    kept = (inbox / "bad" / said["rows"]).read_text("latin-1").splitlines()
    assert kept == [lines[0], *bad.values()], "the rows as they were, in the file's own encoding, beneath its header"
