"""Every built-in function's examples, as the documentation shows them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dovetail.codec import built_in_codecs
from dovetail.mapping import UNDEFINED, MappingError, compile
from dovetail.mapping.functions.registry import DECLARED

EXAMPLES = [(one.name, text, value) for one in DECLARED.values() for text, value in one.examples]
#: what has no fixed answer, or none at all
WITHOUT = {"random", "shuffle", "now", "millis", "error", "uuid"}


class World:
    """An environment with a table, the platform's formats and a message."""

    now_ms = 1_767_225_600_000
    message_id = "m-1"

    def random(self) -> float:
        return 0.25

    def table(self, name: str) -> list[dict[str, Any]] | None:
        return [{"shop": "pc", "erp": "EA"}, {"shop": "m", "erp": "MTR"}] if name == "units" else None

    def codec(self, name: str) -> Any:
        codecs = built_in_codecs()
        return codecs.by_name(name) if name in codecs.names() else None


@pytest.mark.parametrize(("name", "text", "value"), EXAMPLES, ids=[f"{name}-{text[:30]}" for name, text, _ in EXAMPLES])
def test_example(name: str, text: str, value: Any) -> None:
    found = compile(text).evaluate({}, environment=World())
    assert (found is UNDEFINED) == (value is UNDEFINED)
    assert found is UNDEFINED or found == value
    assert f"${name}" in text


def test_every_function_has_help_and_examples() -> None:
    assert [one.name for one in DECLARED.values() if not one.help] == []
    assert {one.name for one in DECLARED.values() if not one.examples} <= WITHOUT


def ask(text: str, data: Any = UNDEFINED, world: Any = None) -> Any:
    return compile(text).evaluate(data, environment=world or World())


def code(text: str, world: Any = None) -> str:
    with pytest.raises(MappingError) as caught:
        compile(text).evaluate({}, environment=world)
    return caught.value.code


def test_what_the_environment_lacks_is_said() -> None:
    assert code('$table("units")') == "D4002"
    assert code('$table("none")', World()) == "D4002"
    assert code('$parse("json", "[]")') == "D4002"
    assert code('$parse("json", "[")', World()) == "D4002"
    assert code('$format("nothing", 1)', World()) == "D4002"
    assert code('$hash("a", "crc")') == "D4002"
    assert code('$dateAdd("2026-01-01", 1, "moon")') == "D4002"
    assert code('$decimal("1.2.3")') == "D3030"
    assert code("$decimal(1) / 0") == "D1001"


def test_uuids_are_the_same_on_a_retry_and_differ_by_place_and_message() -> None:
    text = "[$uuid(), $uuid(), $uuid('a'), $uuid('a')]"
    first, again = ask(text), ask(text)
    assert first == again
    assert len(set(first)) == 3

    class Other(World):
        message_id = "m-2"

    assert set(ask(text, world=Other())).isdisjoint(first)
    assert ask("$uuid() = $uuid()", world=type("Bare", (), {"now_ms": 0, "random": lambda self: 0.5})()) is False


def test_the_clock_and_the_dice_come_from_the_environment() -> None:
    assert ask("$now()") == "2026-01-01T00:00:00.000Z"
    assert ask("$millis()") == 1_767_225_600_000
    assert ask("$random()") == 0.25
    assert ask("$toMillis('10:00', '[H]:[m]')") == 1_767_225_600_000 + 36_000_000


def test_amounts_stay_exact() -> None:
    data = {"id": 2**70, "price": Decimal("19.90"), "long": Decimal("0.1234567890123456789012345")}
    assert str(ask("{'id': id, 'p': price, 'l': long}", data)) == str(
        {"id": 2**70, "p": data["price"], "l": data["long"]}
    )
    assert ask("price * 3", data) == 59.699999999999996
    total = ask("$decimal(price) * 3 + 0.1", data)
    assert (type(total), str(total)) == (Decimal, "59.80")
    assert ask("$round($decimal('2.345'), 2)") == Decimal("2.34")
    assert ask("$sum([$decimal('0.1'), 0.2, 3])") == Decimal("3.3")
    assert ask("$average([$decimal('0.1'), $decimal('0.2')])") == Decimal("0.15")
    assert ask("$decimal('0.3') = 0.3 and $decimal('0.3') > 0.2 and price = 19.9", data) is True
    assert ask("[$decimal('3'), $decimal('1')]^($)") == [1, 3]
    assert ask("-$decimal('1.50') & '|' & $string($decimal('1E+3')) & '|' & price", data) == "-1.50|1000|19.9"
    assert ask("$string(id)", data) == str(2**70)
