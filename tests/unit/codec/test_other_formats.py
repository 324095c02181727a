from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dovetail.codec import (
    BadRecord,
    CodecError,
    FormCodec,
    Framed,
    MultipartCodec,
    TextCodec,
    XmlCodec,
    built_in_codecs,
    media_type,
)
from dovetail.message import OPAQUE

DATA = Path(__file__).parents[4] / "shared/data"
XML = XmlCodec()


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ("<a/>", {"a": ""}),
        ("<a>x</a>", {"a": "x"}),
        ("<a><b>1</b><b>2</b><c/></a>", {"a": {"b": ["1", "2"], "c": ""}}),
        ('<a id="7">x</a>', {"a": {"_id": "7", "_text": "x"}}),
        ('<a id="7"><b/></a>', {"a": {"_id": "7", "b": ""}}),
        ("<p>one <b>two</b> three</p>", {"p": {"b": "two", "_text": "one  three"}}),
        ('<n:a xmlns:n="urn:x" n:k="1" k="2"><n:b/></n:a>', {"a": {"_k": "2", "b": ""}}),
        ("<a><!-- c --><?pi?><![CDATA[<x>&]]></a>", {"a": "<x>&"}),
        ("<a>&lt;&#233;</a>", {"a": "<é"}),
    ],
)
def test_xml_as_data(document: str, value: Any) -> None:
    assert XML.decode(document.encode()) == value
    assert XML.decode(XML.encode(value)) == value


BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb">' + b"".join(
    b'<!ENTITY b%d "&b%s;&b%s;&b%s;&b%s;&b%s;&b%s;&b%s;&b%s;">' % ((i, *[str(i - 1).encode() if i else b""] * 8))
    for i in range(12)
)


@pytest.mark.parametrize(
    "document",
    [
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        BOMB + b"]><a>&b11;</a>",
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
    ],
)
def test_documents_with_a_dtd_are_refused(document: bytes) -> None:
    with pytest.raises(CodecError, match=r"DTD|ntity"):
        XML.decode(document)


@pytest.mark.parametrize("document", [b"", b"<a>", b"<a></b>", b"<a>&x;</a>", b"x", b"<a>\x00</a>", b"<a>\xff</a>"])
def test_what_is_not_xml_is_refused_with_a_place(document: bytes) -> None:
    with pytest.raises(CodecError, match="not XML"):
        XML.decode(document)


def test_the_place_of_a_fault() -> None:
    with pytest.raises(CodecError) as caught:
        XML.decode(b"<a>\n  <b></c>\n</a>")
    assert caught.value.line == 2


def test_xml_depth_is_bounded() -> None:
    assert XML.decode(b"<a>" * 64 + b"</a>" * 64)
    with pytest.raises(CodecError, match="64 levels"):
        XML.decode(b"<a>" * 65 + b"</a>" * 65)
    with pytest.raises(CodecError):
        XML.decode(b"<a>" * 5000 + b"</a>" * 5000)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ([], "one root"),
        ({"a": 1, "b": 2}, "one root"),
        ({"a": [1, 2]}, "one root"),
        ({"1a": 1}, "not a name"),
        ({"a": {"b c": 1}}, "not a name"),
        ({"a": "\x01"}, "cannot hold"),
        ({"a": {"_x": []}}, "as text"),
    ],
)
def test_what_xml_cannot_say_is_refused(value: Any, word: str) -> None:
    with pytest.raises(CodecError, match=word):
        XML.encode(value)


def test_xml_scalars() -> None:
    value = {"a": {"b": [1, True, None, Decimal("1E+3"), 1.5, 1e21]}}
    assert XML.decode(XML.encode(value)) == {"a": {"b": ["1", "true", "", "1000", "1.5", "1000000000000000000000"]}}


def test_real_documents_are_read() -> None:
    paths = [
        path
        for folder in ("iso20022", "peppol-bis-billing", "sap-idoc", "ccda")
        for path in (DATA / "business-documents" / folder).rglob("*.xml")
    ]
    assert paths
    for path in paths:
        value = XML.decode(path.read_bytes())
        assert XML.decode(XML.encode(value)) == value, path


def test_text_in_its_charset() -> None:
    assert TextCodec().decode(b"\xef\xbb\xbf\xc3\xa9") == "é"
    assert TextCodec("latin-1").decode(b"\xe9") == "é"
    assert TextCodec().encode("é") == b"\xc3\xa9"
    assert TextCodec().encode(12) == b"12"
    with pytest.raises(CodecError, match="0xe9 is not valid utf-8 at line 2 column 3"):
        TextCodec().decode(b"a\nbc\xe9")
    with pytest.raises(CodecError, match="charset 'hex' is unknown"):
        TextCodec("hex").decode(b"a")
    with pytest.raises(CodecError, match="as text"):
        TextCodec().encode({})


def test_text_lines_are_records() -> None:
    found = list(TextCodec(max_line=5).records([b"one\r", b"\ntwo\rb\xe9\ntoolong\nend"]))
    assert [value for _, value in found if isinstance(value, str)] == ["one", "two", "end"]
    bad = [(number, value.error.reason) for number, value in found if isinstance(value, BadRecord)]
    assert [number for number, _ in bad] == [3, 4]
    assert "0xe9" in bad[0][1] and "longer than 5" in bad[1][1]


def test_forms() -> None:
    codec = FormCodec(max_fields=3)
    assert codec.decode(b"a=1&b=x+y%26&a=") == {"a": ["1", ""], "b": "x y&"}
    assert codec.decode(codec.encode({"a": [1, True], "é": "&= +"})) == {"a": ["1", "true"], "é": "&= +"}
    for body, word in ((b"a=%ff", "escaped byte"), (b"a&b&c&d", "more than 3"), (b"\xff", "0xff")):
        with pytest.raises(CodecError, match=word):
            codec.decode(body)
    with pytest.raises(CodecError, match="from an object"):
        codec.encode([1])


def test_multipart_round_trip() -> None:
    codec = MultipartCodec()
    file = {"filename": 'a "b".txt', "content_type": "text/plain", "content": bytes(range(256))}
    body = codec.encode({"name": "Zoë", "n": [1, 2], "file": file})
    value = built_in_codecs().for_content_type(codec.media_type).decode(body)
    assert value == {"name": "Zoë", "n": ["1", "2"], "file": {**file, "filename": "a %22b%22.txt"}}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "ends before"),
        (b"junk", "not a multipart body"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx', "ends before"),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n", "no name"),
        (b"--b\r\nX: " + b"y" * 9000 + b"\r\n\r\nx\r\n--b--\r\n", "header size"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--b--\r\n', "0xff"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 4 + b"--b--\r\n", "more than 3 parts"),
    ],
)
def test_broken_multipart_is_refused(body: bytes, word: str) -> None:
    with pytest.raises(CodecError, match=word):
        MultipartCodec("b", max_parts=3).decode(body)
    with pytest.raises(CodecError, match="must name its boundary"):
        MultipartCodec("").decode(body)


def test_a_value_that_holds_the_boundary_is_refused() -> None:
    with pytest.raises(CodecError, match="contains the boundary"):
        MultipartCodec("b").encode({"a": "--b"})


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("application/json", "json"),
        ("Application/JSON; charset=UTF-8", "json"),
        ("application/vnd.api+json", "json"),
        ("application/soap+xml; charset=utf-8", "xml"),
        ("text/csv", "csv"),
        ("application/x-www-form-urlencoded", "form"),
        ('multipart/form-data; boundary="x"', "multipart"),
        ("text/plain; charset=latin-1", "text"),
        ("application/x-ndjson", "ndjson"),
        ("image/png", "bytes"),
        ("", "bytes"),
        (None, "bytes"),
        (";;;", "bytes"),
    ],
)
def test_codecs_are_found_by_content_type(content_type: str | None, name: str) -> None:
    codecs = built_in_codecs()
    assert codecs.for_content_type(content_type).name == name
    assert codecs.for_content_type(content_type) is codecs.for_content_type(content_type)


def test_strangers_cannot_fill_the_memory_with_content_types() -> None:
    codecs = built_in_codecs()
    for number in range(1000):
        codecs.for_content_type(f"x/{number}")
    assert len(codecs._seen) == 256


def test_a_lookup_is_extended_by_copy() -> None:
    codecs = built_in_codecs()
    more = codecs.extended({"opaque": OPAQUE}, {"x/y": lambda given: TextCodec()})
    assert more.by_name("opaque") is OPAQUE and more.for_content_type("x/y").name == "text"
    with pytest.raises(KeyError):
        codecs.by_name("opaque")
    assert {"json", "csv", "xml", "text", "form", "multipart", "ndjson"} <= set(codecs.names())
    assert [name for name in codecs.names() if isinstance(codecs.by_name(name), Framed)] == ["csv", "ndjson", "text"]


def test_media_types_are_split() -> None:
    assert media_type('Text/CSV; Charset="latin-1"; x') == ("text/csv", {"charset": "latin-1"})


def test_strangers_cannot_fill_the_log_with_broken_multipart(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CodecError):
        MultipartCodec("b").decode(b"--b\r\nX\x00: y\r\n\r\nx\r\n--b--\r\n")
    assert caplog.records == []


@pytest.mark.parametrize("name", ["json", "ndjson", "csv", "xml", "text", "form", "multipart"])
def test_damaged_bytes_are_read_or_refused_and_nothing_else(name: str) -> None:
    codec, dice = built_in_codecs().by_name(name), random.Random(name)
    values: dict[str, Any] = {
        "text": "é\n1", "csv": [{"a": "1", "b": 'x\n"y"'}, {"a": "é", "b": ""}], "ndjson": [{"a": 1}, "x"],
        "xml": {"a": {"_x": "1", "b": ["t", "é"]}}, "multipart": {"a": "1", "f": {"content": b"x"}},
    }  # fmt: skip
    whole = codec.encode(values.get(name, {"a": ["1", "2"], "b": "é&="}))
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(dice.choice((1, 2, 4))):
            at = dice.randrange(len(damaged))
            damaged[at : at + dice.randrange(3)] = dice.choice(
                [b"", b"\x00", b"\xff", b'"', b"{", b"<", b"&", b"\n", b"1e9"]
            )
        try:
            codec.decode(bytes(damaged))
        except CodecError as error:
            assert error.reason
            refused += 1
    assert refused > 20
