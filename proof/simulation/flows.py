"""The families whose messages go through: mapped, called for, split, published, written, one after the other or side by
side. Those that remember, wait or go back are in `patterns`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from proof.simulation.families import MAP, Content, Family, Tell, each, mapped


def if_paid(tell: Tell) -> Tell:
    return lambda value, version: tell(value, version) if value["paid"] else ()


def _paid(dice: random.Random, value: dict[str, Any]) -> None:
    value["paid"] = dice.random() < 0.8


def _items(dice: random.Random, value: dict[str, Any]) -> None:
    count = dice.choice((0, 1, 2, 3, 3, 5))
    value["items"] = [
        {"id": value["id"], "part": f"p{n}", "k": f"{value['k']}-{n % 2}", "n": value["n"], "how": value["how"]}
        for n in range(count)
    ]


def _parts(value: Mapping[str, Any], version: int) -> list[Content]:
    return [
        ("sys.create", item["part"], {**item, "z": 1, **({"v": 2} if version == 2 else {})}) for item in value["items"]
    ]


def _looked_up(value: Mapping[str, Any], version: int) -> list[Content]:
    more = {"v": 2} if version == 2 else {}
    return [("sys.create", "", {**_plain(value), "rate": len(value["id"]), **more})]


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": value["id"], "k": value["k"], "n": value["n"], "how": value["how"]}


def _guarded(value: Mapping[str, Any], version: int) -> list[Content]:
    return [("sys.put", "", mapped(value, version))]


FAMILIES = (
    Family(
        "orders",
        {"orders": "{head}steps:\n- filter: paid\n- " + MAP + "\n- call: orders-sys.create\n- call: orders-sys.put\n"
                   "- respond\n{failure}"},
        if_paid(each("sys.create", "sys.put")), may=if_paid(each("caller")), make=_paid, waits=True,
    ),
    Family(
        "careful",
        {"careful": "{head}steps:\n- " + MAP + "\n- call: careful-sys.fire\n- call: careful-sys.create\n{failure}"},
        each("sys.fire", "sys.create"), doubt="park", stands="in_doubt",
    ),
    Family(
        "again",
        {"again": "{head}steps:\n- " + MAP + "\n- call: again-sys.fire\n- call: again-sys.put\n{failure}"},
        each("sys.fire", "sys.put"), doubt="retry", deduped=False, keyed=False, ordered=False,
    ),
    Family(
        "asking",
        {"asking": "{head}steps:\n- " + MAP + "\n- call: asking-sys.ask\n- call: asking-sys.join\n{failure}"},
        each("sys.ask", "sys.join"),
    ),
    Family(
        "batches",
        {"batches": "{head}steps:\n- split: {expression: items, key: k}\n"
                    "- map: '$merge([$, {\"z\": 1{v2}}])'\n- call: batches-sys.create\n{failure}"},
        _parts, make=_items,
    ),
    Family(
        "news",
        {
            "news": "{head}steps:\n- " + MAP + "\n- call: news-sys.create\n- publish: told\n- call: news-sys.put\n"
                    "{failure}",
            "hears": "source: {topic: {name: told, from: earliest}}\nkey: k\nsteps:\n- call: news-ear.put\n"
                     "- call: news-ear.ask\n{failure}",
            "writes": "source: {topic: {name: told, from: earliest}}\nkey: k\nsteps:\n- send: news-pen.write\n"
                      "{failure}",
        },
        each("sys.create", "sys.put", "ear.put", "ear.ask", "pen.write"), uses=("sys", "ear", "pen"),
    ),
    Family(
        "guarded",
        {"guarded": "{head}steps:\n- " + MAP + "\n- try:\n    steps: [{call: guarded-sys.create}]\n"
                    "    catch: [{call: guarded-sys.undo}]\n- call: guarded-sys.put\n{failure}"},
        _guarded, may=each("sys.create", "sys.undo"),
    ),
    Family(
        "beside",
        {"beside": "{head}steps:\n- " + MAP + "\n- parallel:\n  - call: beside-sys.create\n  - call: beside-sys.ask\n"
                   "  - [{call: beside-sys.put}, {call: beside-sys.join}]\n{failure}"},
        each("sys.create", "sys.ask", "sys.put", "sys.join"), keyed=False, ordered=False,
    ),
    Family(
        "rates",
        {"rates": "{head}steps:\n- enrich: {operation: rates-sys.look, merge: '{\"id\": id, \"k\": k, \"n\": n, "
                  "\"how\": how, \"rate\": $vars.reply.rate{v2}}'}\n- call: rates-sys.create\n{failure}"},
        _looked_up, may=lambda value, version: [("sys.look", "", value)],
    ),
    Family(
        "lines",
        {"lines": "{head}steps:\n- " + MAP + "\n- send: lines-sys.write\n{failure}"},
        each("sys.write"), deduped=False, keyed=False, ordered=False,
    ),
    Family(
        "drops",
        {"drops": "{head}steps:\n- " + MAP + "\n- send: drops-sys.drop\n- call: drops-sys.create\n{failure}"},
        each("sys.drop", "sys.create"), doubt="park", stands="in_doubt",
    ),
)  # fmt: skip
