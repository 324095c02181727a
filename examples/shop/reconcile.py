"""Compares what the shop knows with what the other systems know, from their own databases alone."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import apsw

# system, table, whether the table knows the amount
LEDGERS = [
    ("erp", "sales_orders", "total"),
    ("warehouse", "reservations", None),
    ("accounting", "invoices", "total"),
    ("backoffice", "packing_slips", None),
    ("backoffice", "ledger_entries", "total"),
]


@dataclass(slots=True)
class Row:
    """One line of the reconciliation."""

    system: str
    what: str
    expected: int
    found: int
    trouble: str = ""

    @property
    def good(self) -> bool:
        return self.expected == self.found and not self.trouble


@dataclass(slots=True)
class Junk:
    """What became of one kind of junk."""

    kind: str
    refused: int = 0
    kept: int = 0
    unanswered: int = 0
    answers: Counter[str] = field(default_factory=Counter)


def read(folder: Path, system: str, query: str) -> list[tuple]:  # type: ignore[type-arg]
    """The rows of a query on a system's own database file."""
    connection = apsw.Connection(str(folder / f"{system}.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def count(folder: Path, system: str, table: str) -> int:
    """How many rows a table of a system has."""
    return int(read(folder, system, f"SELECT count(*) FROM {table}")[0][0])


def reconcile(folder: Path, flows: Mapping[str, Mapping[str, int]]) -> tuple[list[Row], list[Junk]]:
    """Every check of the story, and the fate of the junk; ``flows`` are Dovetail's own counts."""
    orders = read(folder, "shop", "SELECT id, financial_status, total FROM orders WHERE genuine")
    paid = {str(identity): total for identity, status, total in orders if status == "paid"}
    told = read(
        folder,
        "shop",
        "SELECT count(DISTINCT order_id) FROM deliveries WHERE kind = 'first' AND status BETWEEN 200 AND 299",
    )
    again = read(
        folder, "shop", "SELECT count(*), sum(status BETWEEN 200 AND 299) FROM deliveries WHERE kind = 'again'"
    )
    rows = [
        Row("shop", "genuine orders, answered 2xx", len(orders), told[0][0]),
        Row("shop", "second deliveries, answered 2xx", again[0][0], again[0][1] or 0),
    ]
    rows += [one_each(folder, system, table, amount, paid) for system, table, amount in LEDGERS]
    invoiced = {reference for (reference,) in read(folder, "accounting", "SELECT reference FROM invoices")}
    rows.append(Row("accounting", "invoices for unpaid or junk orders", 0, len(invoiced - paid.keys())))
    junk = fate_of_junk(folder)
    kept = sum(kind.kept for kind in junk)
    ended = kept + sum(kind.refused for kind in junk)
    rows.append(Row("shop", "junk, refused or kept", ended + sum(kind.unanswered for kind in junk), ended))
    rows.append(Row("dovetail", "junk kept as dead letters", kept, sum(flow["dead"] for flow in flows.values())))
    rows += [balance(name, flow) for name, flow in flows.items()]
    return rows, junk


def one_each(folder: Path, system: str, table: str, amount: str | None, paid: Mapping[str, str]) -> Row:
    """Exactly one row per paid order, none for others, amounts equal."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for reference, total in read(folder, system, f"SELECT reference, {amount or 'NULL'} FROM {table}"):
        found[reference].append(total)
    trouble = wrong(
        missing=len(paid.keys() - found.keys()),
        doubled=sum(len(rows) > 1 for rows in found.values()),
        unwanted=len(found.keys() - paid.keys()),
        amounts=sum(total != paid.get(ref) for ref, rows in found.items() for total in rows) if amount else 0,
    )
    return Row(system, f"{table.replace('_', ' ')}, one per paid order", len(paid), len(found), trouble)


def wrong(**counts: int) -> str:
    """The counts that are not zero, for people."""
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def fate_of_junk(folder: Path) -> list[Junk]:
    """What the shop was answered for each kind of junk."""
    kinds: dict[str, Junk] = {}
    query = "SELECT kind, status, answer FROM deliveries WHERE kind NOT IN ('first', 'again') ORDER BY number"
    for name, status, answer in read(folder, "shop", query):
        junk = kinds.setdefault(name, Junk(name))
        junk.answers[f"{status} {reason(answer)}"] += 1
        if status is None or status >= 500:
            junk.unanswered += 1
        elif status >= 400:
            junk.refused += 1
        else:
            junk.kept += 1
    return list(kinds.values())


def reason(answer: str) -> str:
    """What a refusal says, from its problem document or as it is."""
    try:
        return str(json.loads(answer)["detail"])
    except (ValueError, KeyError, TypeError):
        return answer[:120]


def balance(name: str, flow: Mapping[str, int]) -> Row:
    """Everything a flow accepted has ended: done, dead or discarded by its own rule."""
    ended = flow["done"] + flow["dead"] + flow["discarded"]
    return Row("dovetail", f"{name}: accepted = ended", flow["accepted"], ended, wrong(pending=flow["pending"]))
