from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from dovetail.codec import BadRecord, CodecError, CsvCodec, Dialect

DATA = Path(__file__).parents[4] / "shared/data"
SPECTRUM = DATA / "business-documents/csv-spectrum"
POLLOCK = DATA / "business-documents/csv-pollock-polluted"


def read(text: str | bytes, dialect: Dialect | None = None, step: int = 0) -> tuple[list[Any], list[tuple[int, str]]]:
    body = text.encode() if isinstance(text, str) else text
    chunks = [body[at : at + step] for at in range(0, len(body), step)] if step else [body]
    good, bad = [], []
    for line, row in CsvCodec(dialect).records(chunks):
        if isinstance(row, BadRecord):
            assert row.error.line == line
            bad.append((line, row.error.reason))
        else:
            good.append(row)
    return good, bad


@pytest.mark.parametrize("path", sorted((SPECTRUM / "csvs").glob("*.csv")), ids=lambda path: path.stem)
@pytest.mark.parametrize("step", [0, 1, 7])
def test_spectrum(path: Path, step: int) -> None:
    expected = json.loads((SPECTRUM / "json" / f"{path.stem}.json").read_text())
    assert read(path.read_bytes(), step=step) == (expected, [])
    codec = CsvCodec()
    assert codec.decode(codec.encode(expected)) == expected


@pytest.mark.parametrize("path", sorted((POLLOCK / "csv").glob("*.csv")), ids=lambda path: path.stem)
def test_polluted_files_read_like_their_clean_versions(path: Path) -> None:
    stated = json.loads((POLLOCK / "parameters" / f"{path.name}_parameters.json").read_text())
    dialect = Dialect(
        delimiter=stated["delimiter"], quote=stated["quotechar"], encoding=stated["encoding"],
        header=bool(stated["header_lines"]), skip=stated["preamble_lines"],
    )  # fmt: skip
    with (POLLOCK / "clean" / path.name).open(newline="") as clean:
        rows = [row for row in csv.reader(clean) if row]
    good, bad = read(path.read_bytes(), dialect)
    expected = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]] if dialect.header else rows
    assert good == expected
    assert bad == []


def test_ragged_rows_are_reported_with_their_lines_and_good_rows_go_on() -> None:
    good, bad = read('id,name\n1,"a\nb"\n2\n3,c,d\n\n4,e\n')
    assert good == [{"id": "1", "name": "a\nb"}, {"id": "4", "name": "e"}]
    expected = "where 2 are expected"
    assert bad == [(4, f"the row has 1 fields {expected}"), (5, f"the row has 3 fields {expected}")]


def test_a_bad_row_keeps_its_text() -> None:
    rows = [row for _, row in CsvCodec().records([b"a,b\n1,2,3\n"])]
    assert isinstance(rows[0], BadRecord) and rows[0].raw == "1,2,3"


def test_a_quote_that_is_never_closed_costs_one_row() -> None:
    good, bad = read('a,b\n1,x\n2,"y\n3,z\n4,w\n')
    assert [row["a"] for row in good] == ["1", "3", "4"]
    assert bad == [(3, "a quote is opened here and never closed")]


def test_a_quote_that_swallows_too_much_costs_one_row() -> None:
    body = 'a,b\n1,"x\n' + "2,y\n" * 100
    good, bad = read(body, Dialect(max_record=200))
    assert (len(good), [line for line, _ in bad]) == (100, [2])


def test_rereading_is_bounded() -> None:
    good, bad = read("a,b\n" + '1,"x\n' * 1001 + "2,y\n")
    assert len(good) + len(bad) < 1002 and bad


def test_text_after_a_quoted_field_is_not_guessed_at() -> None:
    good, bad = read('a,b\n"x"y,1\n2,3\n')
    assert good == [{"a": "2", "b": "3"}]
    assert [line for line, _ in bad] == [2]


def test_bytes_of_another_encoding_are_bad_records() -> None:
    body = "a,b\nMüller,1\nSmith,2\n".encode("latin-1")
    good, bad = read(body)
    assert good == [{"a": "Smith", "b": "2"}]
    assert bad == [(2, "the byte 0xfc is not valid utf-8; if the file has another encoding, name it")]
    assert read(body, Dialect(encoding="latin-1"))[0][0] == {"a": "Müller", "b": "1"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("step", [0, 1, 3])
def test_byte_order_marks_and_wide_encodings(encoding: str, step: int) -> None:
    body = "a,b\r\nä,😀\r\n".encode(encoding)
    dialect = Dialect(encoding="utf-8" if encoding == "utf-8-sig" else encoding)
    assert read(body, dialect, step) == ([{"a": "ä", "b": "😀"}], [])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_every_line_end_at_every_chunk_boundary(end: str, step: int) -> None:
    good, bad = read(end.join(["a,b", "1,2", '"x' + end + 'y",3', "4", "5,6"]), step=step)
    assert [row["a"] for row in good] == ["1", f"x{end}y", "5"]
    assert [line for line, _ in bad] == [5]


def test_names_and_no_header() -> None:
    assert read("1,2\n", Dialect(header=False)) == ([["1", "2"]], [])
    assert read("1,2\n3\n", Dialect(header=False, names=("x", "y")))[0] == [{"x": "1", "y": "2"}]
    assert read("A,,A\n1,2,3\n", Dialect(names=("x", "y", "z")))[0] == [{"x": "1", "y": "2", "z": "3"}]


@pytest.mark.parametrize(
    ("text", "word"), [("a,a\n1,2\n", "'a' twice"), ("a,,b\n", "column 2 has no name"), ('a,"b\n', "never closed")]
)
def test_an_unusable_header_is_refused(text: str, word: str) -> None:
    with pytest.raises(CodecError, match=word):
        read(text)


def test_bounds() -> None:
    with pytest.raises(CodecError, match="3 columns; at most 2"):
        read("a,b,c\n", Dialect(max_columns=2))
    assert read("1,2,3\n", Dialect(header=False, max_columns=2))[1] == [
        (1, "the row has 3 fields where 2 are expected")
    ]
    with pytest.raises(CodecError, match="more than 1 rows"):
        CsvCodec(Dialect(max_rows=1)).decode(b"a\n1\n2\n")
    big = "x" * 200_000
    assert "field larger" in read(f"a\n{big}\n1\n")[1][0][1]
    assert read(f"a\n{big}\n1\n", Dialect(max_record=1000), step=4096) == (
        [{"a": "1"}],
        [(2, "the line is longer than 1000 characters")],
    )


def test_an_empty_body_has_no_rows() -> None:
    assert read("") == ([], [])
    assert read("a,b\n") == ([], [])


def test_northwind_is_read_whole() -> None:
    found = ragged = 0
    for path in sorted((DATA / "tabular-mdm/northwind").glob("*.csv")):
        body = path.read_bytes()
        good, bad = read(body, step=4096)
        header, *rows = [row for row in csv.reader(io.StringIO(body.decode(), newline="")) if row]
        whole = [dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)]
        assert (good, len(bad)) == (whole, len(rows) - len(whole)), path.name
        found += len(good)
        ragged += len(bad)
    assert found > 3000
    assert ragged == 209  # street names with a comma that nobody quoted


def test_writing() -> None:
    codec = CsvCodec(Dialect(delimiter=";"))
    rows: list[Any] = [{"a": 1, "b": None}, {"a": True, "c": 'x;"y'}]
    assert codec.encode(rows) == b'a;b;c\r\n1;;\r\ntrue;;"x;""y"\r\n'
    assert codec.encode([[1, 2]]) == b"1;2\r\n"
    for wrong in ([{"a": {}}], [1], [{"a": 1}, 2]):
        with pytest.raises(CodecError):
            codec.encode(wrong)
    with pytest.raises(CodecError, match="cannot be written in"):
        CsvCodec(Dialect(encoding="latin-1")).encode([{"a": "😀"}])


def test_an_open_quote_before_a_line_that_cannot_be_read_takes_no_good_row_with_it() -> None:
    found = list(CsvCodec().records([b'a,b\n1,"open\n2,good\n\xff,bad\n3,good\n']))
    assert [line for line, _ in found] == [2, 3, 4, 5]
    assert [value["a"] for _, value in found if isinstance(value, dict)] == ["2", "3"]
    assert "not closed before a line that cannot be read" in str(found[0][1].error)
