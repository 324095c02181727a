"""The mapping language's speed, in one run beside hand-written Python and the JavaScript reference on Node.

    python bench/mapping.py            # order mapping, filter, compile time, memory
    python bench/mapping.py --suite    # also every case of the official suite against the reference

Numbers are evaluations per CPU second, limits on; only the ratios mean anything.
tools/oracle.sh installs the reference.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dovetail.mapping import UNDEFINED, Limits, MappingError, compile

HERE = Path(__file__).parent
MODULES = HERE.parent / "build/oracle/node_modules"
SUITE = HERE.parent.parent / "shared/data/conformance/jsonata-test-suite"

FILTER = 'financial_status = "paid"'
MAPPING = """(
    $lines := line_items[quantity > 0];
    {
        "orderId": "SO-" & $string(order_number),
        "externalId": id,
        "currency": currency,
        "orderDate": $substringBefore(created_at, "T"),
        "customer": {
            "number": $string(customer.id),
            "name": customer.first_name & " " & customer.last_name,
            "email": $lowercase(customer.email)
        },
        "shipTo": shipping_address.{
            "street": $join([address1, address2][$ != ""], ", "),
            "city": city,
            "postcode": zip,
            "country": country_code
        },
        "lines": $lines.{
            "sku": sku,
            "description": $uppercase(title),
            "quantity": quantity,
            "unitPrice": price,
            "amount": $round(price * quantity, 2)
        },
        "itemCount": $sum($lines.quantity),
        "skus": $join($lines.sku, ","),
        "net": $round($sum($lines.(price * quantity)), 2),
        "gross": total_price,
        "express": shipping_lines[0].code = "EXPRESS"
    }
)"""
ORDER: dict[str, Any] = {
    "id": 450789469, "order_number": 1001, "email": "ada@shop.example", "created_at": "2026-03-05T11:00:00-05:00",
    "currency": "EUR", "financial_status": "paid", "total_price": 119.97,
    "customer": {"id": 207119551, "first_name": "Ada", "last_name": "Lovelace", "email": "Ada@Shop.Example"},
    "shipping_address": {"address1": "12 High Street", "address2": "", "city": "Leeds", "zip": "LS1",
                         "country_code": "GB"},
    "line_items": [
        {"sku": "A-1", "title": "Pen, blue", "quantity": 2, "price": 19.5},
        {"sku": "B-7", "title": "Paper", "quantity": 1, "price": 24.99},
        {"sku": "C-3", "title": "Gift card", "quantity": 0, "price": 50},
        {"sku": "D-9", "title": "Ink", "quantity": 4, "price": 13.995},
    ],
    "shipping_lines": [{"code": "EXPRESS", "price": 4.5}],
}  # fmt: skip


def by_hand_filter(order: dict[str, Any]) -> bool:
    return bool(order.get("financial_status") == "paid")


def by_hand(order: dict[str, Any]) -> dict[str, Any]:
    """The same mapping as a Python programmer would write it."""
    lines = [line for line in order["line_items"] if line["quantity"] > 0]
    customer, address = order["customer"], order["shipping_address"]
    return {
        "orderId": "SO-" + str(order["order_number"]),
        "externalId": order["id"],
        "currency": order["currency"],
        "orderDate": order["created_at"].split("T")[0],
        "customer": {
            "number": str(customer["id"]),
            "name": customer["first_name"] + " " + customer["last_name"],
            "email": customer["email"].lower(),
        },
        "shipTo": {
            "street": ", ".join(part for part in (address["address1"], address["address2"]) if part),
            "city": address["city"],
            "postcode": address["zip"],
            "country": address["country_code"],
        },
        "lines": [
            {
                "sku": line["sku"],
                "description": line["title"].upper(),
                "quantity": line["quantity"],
                "unitPrice": line["price"],
                "amount": round(line["price"] * line["quantity"], 2),
            }
            for line in lines
        ],
        "itemCount": sum(line["quantity"] for line in lines),
        "skus": ",".join(line["sku"] for line in lines),
        "net": round(sum(line["price"] * line["quantity"] for line in lines), 2),
        "gross": order["total_price"],
        "express": order["shipping_lines"][0]["code"] == "EXPRESS",
    }


def cost(call: Callable[[], Any], seconds: float = 0.3) -> float:
    """CPU seconds of one call, the median of five."""
    call()
    start = time.process_time()
    count = 0
    while time.process_time() - start < seconds / 5:
        call()
        count += 1
    samples = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(count):
            call()
        samples.append((time.process_time() - start) / count)
    return statistics.median(samples)


def reference(cases: list[dict[str, Any]], seconds: float) -> list[float | None]:
    """The reference's CPU seconds of one evaluation of each case; None where it fails."""
    environment = {**os.environ, "NODE_PATH": str(MODULES)}
    done = subprocess.run(
        ["node", str(HERE / "mapping_peer.js")], input=json.dumps({"cases": cases, "seconds": seconds}).encode(),
        stdout=subprocess.PIPE, env=environment, check=True,
    )  # fmt: skip
    return [None if one is None else one / 1e6 for one in json.loads(done.stdout)]


def row(name: str, mine: float, hand: float | None, theirs: float | None) -> None:
    parts = [f"| {name} | {1 / mine:,.0f}"]
    parts.append(f"{1 / hand:,.0f} | {hand / mine:.2f}" if hand else "– | –")
    parts.append(f"{1 / theirs:,.0f} | {theirs / mine:.1f}" if theirs else "– | –")
    print(" | ".join(parts) + " |")


def main_table() -> None:
    cases = [{"expr": MAPPING, "data": ORDER}, {"expr": FILTER, "data": ORDER}]
    theirs = reference(cases, 1.0)
    mapping, filter_ = compile(MAPPING), compile(FILTER)
    assert mapping.evaluate(ORDER) == by_hand(ORDER)
    print("| evaluations per CPU second | ours | by hand | ours / by hand | reference | ours / reference |")
    print("|---|---|---|---|---|---|")
    row("order to sales order", cost(lambda: mapping.evaluate(ORDER)), cost(lambda: by_hand(ORDER)), theirs[0])
    row("filter", cost(lambda: filter_.evaluate(ORDER)), cost(lambda: by_hand_filter(ORDER)), theirs[1])
    compiling = cost(lambda: compile(MAPPING))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [compile(MAPPING) for _ in range(20)]
    size = (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    tracemalloc.stop()
    print(f"\ncompiling the order mapping: {compiling * 1000:.1f} ms, {size / 1024:.0f} KiB kept")


def suite_cases() -> list[dict[str, Any]]:
    datasets = {one.stem: json.loads(one.read_text("utf-8")) for one in (SUITE / "datasets").glob("*.json")}
    found = []
    for file in sorted((SUITE / "groups").glob("*/*.json")):
        content = json.loads(file.read_text("utf-8"))
        for case in content if isinstance(content, list) else [content]:
            if "code" in case or "error" in case or case.get("timelimit", 0) > 5000:
                continue
            made = {"expr": case.get("expr") or (file.parent / case["expr-file"]).read_text("utf-8")}
            if "data" in case or case.get("dataset"):
                made["data"] = case["data"] if "data" in case else datasets[case["dataset"]]
            made["bindings"] = case.get("bindings") or {}
            made["name"] = f"{file.parent.name}/{file.stem}"
            found.append(made)
    return found


def suite_table(seconds: float, shown: int) -> None:
    """How many of the suite's cases are at least as fast as on the reference."""
    cases = suite_cases()
    theirs = reference(cases, seconds)
    limits = Limits(seconds=10.0, depth=500)
    ratios: list[tuple[float, str, str]] = []
    for case, other in zip(cases, theirs, strict=True):
        if other is None:
            continue
        expression = compile(case["expr"], limits=limits)
        data, bindings = case.get("data", UNDEFINED), case["bindings"]
        try:
            mine = cost(lambda e=expression, d=data, b=bindings: e.evaluate(d, b), seconds)  # type: ignore[misc]
        except MappingError:
            continue
        ratios.append((other / mine, case["name"], case["expr"]))
    ratios.sort()
    faster = sum(ratio >= 1 for ratio, _, _ in ratios)
    middle = statistics.median(ratio for ratio, _, _ in ratios)
    print(
        f"\nsuite: {len(ratios)} cases, {faster} ({faster / len(ratios):.1%}) as fast or faster, median {middle:.1f} x"
    )
    for ratio, name, text in ratios[:shown]:
        print(f"  slowest {ratio:6.2f}  {name}: {' '.join(text.split())[:90]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", action="store_true", help="also every case of the official suite")
    parser.add_argument("--seconds", type=float, default=0.02, help="CPU seconds for each of the suite's cases")
    parser.add_argument("--shown", type=int, default=10, help="how many of the slowest cases to show")
    given = parser.parse_args()
    if not MODULES.exists():
        sys.exit("the reference is missing: run tools/oracle.sh first")
    main_table()
    if given.suite:
        suite_table(given.seconds, given.shown)
