from __future__ import annotations

import base64
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dovetail.codec import BadRecord, CodecError, JsonCodec, JsonLinesCodec
from dovetail.errors import Rejected

DATA = Path(__file__).parents[4] / "shared/data"
PARSING = sorted((DATA / "conformance/json-parsing").rglob("*.json"))
CODEC = JsonCodec()


def refused(body: bytes) -> CodecError:
    with pytest.raises(CodecError) as caught:
        CODEC.decode(body)
    assert isinstance(caught.value, Rejected)
    return caught.value


@pytest.mark.parametrize("path", PARSING, ids=lambda path: path.stem)
def test_parsing_suite(path: Path) -> None:
    body = path.read_bytes()
    if path.name.startswith("y_"):
        assert CODEC.decode(body) == json.loads(body, parse_float=Decimal)
    elif path.name.startswith("n_"):
        assert refused(body).line >= 1
    else:
        try:
            CODEC.encode(CODEC.decode(body))
        except CodecError as error:
            assert error.message


def test_the_suite_is_there() -> None:
    assert len(PARSING) > 30


@pytest.mark.parametrize(
    ("body", "line", "column", "word"),
    [
        (b'{"a":1,"a":2}', 1, 12, "twice"),
        (b'{"a":{"b":1,\n "b":2}}', 2, 6, "twice"),
        (b"[1,\n  NaN]", 2, 3, "NaN"),
        (b"-Infinity", 1, 2, "Infinity"),
        (b"[1, 1e400]", 1, 5, "308"),
        (b'{"\xc3\xa9": 1E-0999}', 1, 7, "308"),
        (b"1e99999999999999999999", 1, 22, "308"),
        (b"[1,\n x]", 2, 2, "expected value"),
        (b'"\\ud800"', 1, 8, "hex escape"),
        (b'"\xff"', 1, 2, "unicode"),
        (b"", 1, 1, "EOF"),
        (b"1" * 4400, 1, 4302, "4300 digits"),
        (b"\n" + b"[" * 65 + b"]" * 65, 2, 65, "64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, 1, 321, "64 levels"),
        (b"[" * 100_000, 1, 65, "64 levels"),
    ],
)
def test_what_is_refused_and_where(body: bytes, line: int, column: int, word: str) -> None:
    error = refused(body)
    assert (error.line, error.column) == (line, column), error.message
    assert word in error.message and f"line {line}" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 64 + b"]" * 64,
        b'"' + b"[" * 100 + b'"',
        b"[" + b"[]," * 99 + b"{}]",
        b'{"hash":"a1e4","b":"7e500","c":"1e999"}',
        b"[1e308,1.5e-300,0.1e2]",
    ],
)
def test_what_only_looks_like_a_fault_is_accepted(body: bytes) -> None:
    assert CODEC.decode(body) == json.loads(body, parse_float=Decimal)


def test_numbers_are_exact() -> None:
    body = b"[9007199254740993,18446744073709551616,123456789012345678901234567890,-0.10,1.50,19.99,1E+5]"
    value = CODEC.decode(body)
    assert value[:3] == [9007199254740993, 2**64, 123456789012345678901234567890]
    assert value[3:6] == [Decimal("-0.10"), Decimal("1.50"), Decimal("19.99")]
    assert CODEC.encode(value) == body


def test_a_byte_order_mark_is_skipped() -> None:
    assert CODEC.decode(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    assert refused(b"\xef\xbb\xbf{").line == 1


def test_another_charset_is_honoured() -> None:
    assert JsonCodec("latin-1").decode(b'"\xe9"') == "é"
    with pytest.raises(CodecError, match="charset 'klingon' is unknown"):
        JsonCodec("klingon").decode(b"1")


def test_naughty_strings_survive() -> None:
    plain = CODEC.decode((DATA / "conformance/naughty-strings/blns.json").read_bytes())
    coded = CODEC.decode((DATA / "conformance/naughty-strings/blns.base64.json").read_bytes())
    assert len(plain) > 400
    assert CODEC.decode(CODEC.encode(plain)) == plain == json.loads(CODEC.encode(plain))
    decoded = [base64.b64decode(text).decode("utf-8", "replace") for text in coded]
    assert CODEC.decode(CODEC.encode(decoded)) == decoded


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (float("nan"), "nan"),
        ({"a": [None, float("inf")]}, "inf"),
        ([Decimal("NaN")], "NaN"),
        (Decimal("-Infinity"), "Infinity"),
        ("\ud800", "surrogate"),
        ({"\udfff": 1}, "surrogate"),
        (object(), "object"),
        (LOOP, "contains itself"),
    ],
)
def test_what_json_cannot_say_is_refused(value: Any, word: str) -> None:
    with pytest.raises(CodecError, match=word):
        CODEC.encode(value)


def test_null_and_words_that_look_like_numbers_are_written() -> None:
    assert CODEC.encode({"a": None, "b": "NaN", "c": "Infinity"}) == b'{"a":null,"b":"NaN","c":"Infinity"}'


def test_lines_go_on_after_a_bad_one() -> None:
    codec = JsonLinesCodec(max_line=20)
    chunks = [b'{"a":1}\n{"a"', b':2}\r\n\n{oops}\n"', b"x" * 30, b"y" * 30, b'"\n3']
    found = list(codec.records(chunks))
    assert [number for number, _ in found] == [1, 2, 4, 5, 6]
    assert [value for _, value in found if not isinstance(value, BadRecord)] == [{"a": 1}, {"a": 2}, 3]
    bad = [value for _, value in found if isinstance(value, BadRecord)]
    assert (bad[0].error.line, bad[0].error.column, bad[0].raw) == (4, 2, "{oops}")
    assert "longer than 20 bytes" in bad[1].error.message
    assert codec.decode(codec.encode([1, "a", None])) == [1, "a", None]
    with pytest.raises(CodecError, match="line 2"):
        codec.decode(b"1\n{\n")
