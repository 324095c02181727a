"""Every step that comes with Dovetail sits the step exam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.sdk import Message, Rejected
from dovetail.testkit.fakes import FakeConnection
from dovetail.testkit.step_suite import CHECKS, StepCase
from dovetail.testkit.steps import FakeBuild, message

CATALOG = Catalog.builtin()
WORDS = {name: CATALOG.step(name) for name in CATALOG.names("step")}
ORDERS = [
    message({"id": 1, "total": 10, "lines": [{"sku": "a"}, {"sku": "b"}]}, id="m-1", ref=1),
    message({"id": 2, "total": 0, "lines": []}, id="m-2", ref=2, headers={"x-old": "1"}),
    message({"id": 3, "total": 30, "lines": [{"sku": "c"}]}, id="m-3", ref=3, variables={"seen": True}),
]


def double(value: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    if value["total"] == 0:
        raise ValueError("nothing to double")
    return {**value, "total": value["total"] * 2, "old": headers.get("x-old")}


def world() -> FakeBuild:
    shop = FakeConnection("shop")
    shop.writes["write"].judge = lambda call: Rejected("too dear") if b"30" in call.message.body else None
    return FakeBuild(
        words=WORDS,
        connections={"shop": shop},
        functions={"pricing:double": double},
        contracts={"order@1": lambda value: "" if value["total"] else "total is zero"},
        flows={"priced": [{"set": {"price": "total * 2"}}, {"call": "shop.call", "as": "answer"}]},
    )


def case(text: dict[str, Any], messages: Sequence[Message] = ORDERS, **more: Any) -> Callable[[], StepCase]:
    return lambda: StepCase(text, world, messages, **more)


CASES: dict[str, list[Callable[[], StepCase]]] = {
    "aggregate": [
        case({"aggregate": "$string(total > 5)", "count": 2, "into": "$sum(total)"}, remembers=True),
        case({"aggregate": {}, "within": "1m", "idle": "10s", "take": "total"}, remembers=True),
    ],
    "approve": [
        case({"approve": "finance", "what": "total", "deadline": "1h"}),
        case({"approve": "finance", "escalate": {"after": "1m", "topic": "late"}, "otherwise": []}, reads_body=False),
    ],
    "call": [
        case({"call": "shop.call", "as": "answer", "args": {"id": "id"}, "body": '{"n": id}', "timeout": "5s"}),
        case({"call": "shop.call"}, reads_body=False),
        case(
            {"call": "shop.call", "compensate": {"operation": "shop.call", "args": {"id": "$vars.reply.id"}}},
            reads_body=False,
        ),
        case({"call": "shop.call", "pivot": True}, reads_body=False),
    ],
    "claim_check": [
        case({"claim_check": "in", "leave": '{"id": id}'}),
        case({"claim_check": "out"}, reads_body=False),
    ],
    "dedupe": [
        case({"dedupe": "total > 5 ? 'much' : 'little'", "window": "1h"}, remembers=True),
        case({"dedupe": "id", "time": "total", "late": "drop"}),
    ],
    "delay": [case({"delay": "10m"}, reads_body=False), case({"delay": {"until": "total"}})],
    "enrich": [
        case({"enrich": "shop.call", "into": "shop.answer", "body": "lines[sku = 'a']"}),
        case({"enrich": "shop.call", "merge": '$merge([$, {"fine": $vars.reply.ok}])'}),
    ],
    "filter": [case({"filter": "total > 0"}), case({"filter": "lines.sku.$number()", "reason": "no numbers"})],
    "join": [
        case({"join": "paid", "key": "id", "within": "1h"}),
        case({"join": "paid", "key": "id", "within": "0s", "unmatched": "pass", "into": "$vars"}),
    ],
    "log": [case({"log": "seen", "fields": {"total": "total"}})],
    "loop": [
        case(
            {
                "loop": {
                    "over": "lines",
                    "as": "line",
                    "index": "n",
                    "collect": "answers",
                    "result": "$vars.answer",
                    "steps": [{"call": "shop.call", "body": "$vars.line", "as": "answer"}],
                }
            }
        ),
        case({"loop": {"while": "total > 5", "max": 3, "steps": [{"map": '{"total": total - 10}'}]}}),
        case({"loop": {"while": "true", "max": 3, "steps": [{"filter": "total > 0"}]}}),
    ],
    "map": [case({"map": '{"n": id}'}), case({"map": "lines[1]"}), case({"map": "total", "format": "text"})],
    "parallel": [
        case(
            {
                "parallel": [
                    {"call": "shop.call", "as": "one", "id": "a"},
                    [{"set": {"two": "id"}}, {"filter": "total > 0"}],
                ]
            }
        )
    ],
    "publish": [
        case({"publish": "orders"}, reads_body=False),
        case({"publish": "orders", "body": "lines", "headers": {"X-Total": "total"}}),
    ],
    "python": [case({"python": "pricing:double"})],
    "resequence": [
        case({"resequence": "id"}, remembers=True),
        case({"resequence": "4 - id", "capacity": 1, "late": "drop"}, remembers=True),
    ],
    "respond": [case({"respond": '{"id": id}', "status": 201, "headers": {"x-id": "id"}})],
    "route": [
        case({"route": [{"when": "total > 20", "steps": [{"call": "shop.call"}]}, {"when": "total > 5", "steps": []}]}),
        case({"route": [{"when": "total > 5", "steps": [{"map": "id"}]}, {"otherwise": [{"filter": "false"}]}]}),
        case(
            {
                "route": [
                    {"when": "total > 5", "steps": [{"call": "shop.call"}]},
                    {"when": "total > 20", "steps": [{"send": "shop.write"}]},
                ],
                "match": "all",
                "unmatched": "fail",
            }
        ),
    ],
    "scatter_gather": [
        case({"scatter_gather": {"one": {"call": "shop.call"}, "two": [{"map": "total"}]}, "as": "got"}),
        case(
            {
                "scatter_gather": {
                    "one": {
                        "steps": [{"call": "shop.call", "as": "a"}],
                        "result": "$vars.a.ok",
                        "timeout": "5s",
                        "default": "false",
                    },
                    "two": {"steps": [{"validate": "order@1"}], "when": "id != 3", "on_failure": "skip"},
                },
                "merge": "$merge([$, $vars.gathered])",
            },
            catches=True,
        ),
    ],
    "send": [
        case({"send": "shop.write"}, reads_body=False),
        case({"send": "shop.write", "args": {"path": "id & '.json'"}, "body": "lines"}),
        case({"send": "shop.write", "compensate": "shop.call"}, reads_body=False),
    ],
    "set": [case({"set": {"total": "total", "none": "missing"}})],
    "set_headers": [
        case({"set_headers": {"X-Id": "id"}, "remove": ["X-Old"]}),
        case({"set_headers": {"x-bad": "lines"}}),
    ],
    "signal": [case({"signal": "paid", "key": "id", "value": "total", "remember": "0s"})],
    "split": [case({"split": "lines", "key": "sku", "as": "part"})],
    "sub_flow": [case({"sub_flow": "priced"})],
    "throttle": [case({"throttle": "1000/s"}, reads_body=False), case({"throttle": "1000/s", "key": "id"})],
    "try": [
        case(
            {"try": [{"call": "shop.call"}], "catch": [{"set": {"handled": "$vars.error.code"}}]},
            reads_body=False,
            catches=True,
        ),
        case({"try": [{"validate": "order@1"}], "catch": [{"map": "$vars.error"}]}),
    ],
    "validate": [case({"validate": "order@1"})],
    "wait": [
        case({"wait": "paid", "key": "id", "as": "payment"}),
        case({"wait": "paid", "key": "id", "timeout": "0s", "on_timeout": [{"publish": "late"}]}),
    ],
    "wire_tap": [
        case({"wire_tap": "orders.seen"}, reads_body=False),
        case({"wire_tap": {"steps": [{"map": "lines"}, {"call": "shop.call"}]}}, reads_body=False, catches=True),
    ],
}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize(
    "make", [pytest.param(make, id=f"{word}-{n}") for word, cases in CASES.items() for n, make in enumerate(cases)]
)
async def test_conformance(name: str, make: Callable[[], StepCase]) -> None:
    await CHECKS[name](make())


def test_no_step_is_left_out() -> None:
    assert sorted(CASES) == CATALOG.names("step")
