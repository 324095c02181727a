from __future__ import annotations

import json
from pathlib import Path

import pytest

from dovetail.project.text import Text

DOCUMENT = b"""\
name: shop
steps:
  - filter: a > 1
  - try:
      - call: erp.create
    catch: [{log: "oh: no"}]
map: |
  {
    "a": b
  }
quoted: "x + y"
numbers: [0o17, 0x1F, 1_000, -2, 1.5, yes, true, null, ~, 2024-01-01]
same: &s {a: 1}
again: *s
"""


def said(data: bytes) -> list[str]:
    return [str(problem) for problem in Text("f.yaml", data).problems]


def test_values_are_plain_and_of_yaml_1_2() -> None:
    value = Text("f.yaml", DOCUMENT).value
    assert value["numbers"] == [15, 31, 1000, -2, 1.5, "yes", True, None, None, "2024-01-01"]
    assert value["map"] == '{\n  "a": b\n}\n'
    assert value["again"] == {"a": 1}
    assert type(value) is dict and type(value["name"]) is str


@pytest.mark.parametrize(
    ("path", "key", "line", "column"),
    [
        (("name",), False, 1, 7),
        (("name",), True, 1, 1),
        (("steps", 0, "filter"), False, 3, 13),
        (("steps", 0, "filter"), True, 3, 5),
        (("steps", 0), False, 3, 5),
        (("steps", 0, "filter", "expression"), False, 3, 13),
        (("steps", 1, "try", "steps", 0, "call"), False, 5, 15),
        (("steps", 1, "catch", 0, "log"), False, 6, 19),
        (("steps", 9), False, 3, 3),
        (("nothing",), True, 1, 1),
    ],
)
def test_places(path: tuple[str | int, ...], key: bool, line: int, column: int) -> None:
    assert Text("f.yaml", DOCUMENT).locate(path, key=key) == ("f.yaml", line, column)


def test_places_inside_of_texts() -> None:
    text = Text("f.yaml", DOCUMENT)
    assert text.inside(("map",), 2, 8) == ("f.yaml", 9, 10)
    assert text.inside(("quoted",), 1, 5) == ("f.yaml", 11, 14)
    assert text.inside(("steps", 0, "filter"), 1, 3) == ("f.yaml", 3, 15)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\n\tb: 2", "f.yaml:2:1: a tab cannot indent (indent with spaces)"),
        (b"a: 1\nb: 2\na: 3", "f.yaml:3:1: 'a' is there twice (first on line 1) (keep one)"),
        (b"a: b: c", "f.yaml:1:5: a ':' is not expected here (put the value in quotes if the ':' belongs to it)"),
        (b"a: @x", "f.yaml:1:4: not YAML: found character '@' that cannot start any token (put the value in quotes)"),
        (b"a: 1\n---\nb: 2", "f.yaml:2:1: a file holds one document, and here begins another (remove the '---')"),
        (b"a: \xe9", "f.yaml:1: the byte 0xe9 is not valid UTF-8 (save the file as UTF-8)"),
        (b"a: !!python/name:os.system x", "f.yaml:1:4: the tag "),
        (b"a: &a {b: *a}", "f.yaml:1:4: the text is too large or too deep, or refers to itself"),
        (b"b: {<<: {a: 1}}", "f.yaml:1:5: '<<' is not supported (write the fields out)"),
        (b"? [a]\n: 1", "f.yaml:1:3: a name must be a plain text"),
        (b"a: \x07", "f.yaml:1:1: not YAML: "),
        (b"a: [1,\nb: 2", "f.yaml:2:"),
        (b"[" * 5000, "f.yaml:1:"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(data: bytes, message: str) -> None:
    found = said(data)
    assert len(found) == 1 and found[0].startswith(message), found


def test_several_duplicates_are_all_told() -> None:
    assert len(said(b"a: 1\na: 2\nb: {c: 1, c: 2}")) == 2


def test_aliases_cannot_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "too large" in said("\n".join(lines).encode())[0]


def test_an_empty_file_has_no_value() -> None:
    assert Text("f.yaml", b"").value is None and said(b"") == []


SUITE = Path(__file__).parents[4] / "shared/data/conformance/yaml"
STRICTER = {  # what is valid YAML and yet no project's text
    "6BFJ": "a name must be a plain text",
    "M5DY": "a name must be a plain text",
    "7Z25": "a file holds one document",
    "JHB9": "a file holds one document",
    "M7A3": "a file holds one document",
}
READ_OTHERWISE = {"9JBA", "A2M4", "HM87", "HS5T", "T26H"}  # the YAML library differs from the suite here


@pytest.mark.parametrize("path", sorted(SUITE.glob("*.yaml")), ids=lambda path: path.stem)
def test_yaml_suite(path: Path) -> None:
    signs = {"␣": " ", "———»": "\t", "——»": "\t", "—»": "\t", "»": "\t", "↵": "", "∎": "", "←": "\r", "⇔": "\ufeff"}
    wrong = 0
    for case in Text(path.name, path.read_bytes()).value:
        if "yaml" not in case:
            continue
        source = case["yaml"]
        for sign, meaning in signs.items():
            source = source.replace(sign, meaning)
        text = Text("f.yaml", source.encode())
        if path.stem in STRICTER:
            assert text.problems[0].message.startswith(STRICTER[path.stem])
        elif case.get("fail"):
            wrong += not text.problems
        else:
            value = json.loads(case["json"]) if case.get("json") else text.value
            wrong += bool(text.problems) or text.value != value
    assert bool(wrong) == (path.stem in READ_OTHERWISE)
