"""Bytes to values and back, one format a file."""

from __future__ import annotations

from dovetail.codec.base import BadRecord, CodecError, Codecs, Framed, Record, media_type
from dovetail.codec.csv import CsvCodec, Dialect
from dovetail.codec.form import FormCodec
from dovetail.codec.json import JsonCodec, JsonLinesCodec
from dovetail.codec.multipart import MultipartCodec
from dovetail.codec.text import TextCodec
from dovetail.codec.xml import XmlCodec
from dovetail.message import OPAQUE, Codec

__all__ = [
    "BadRecord",
    "CodecError",
    "Codecs",
    "CsvCodec",
    "Dialect",
    "FormCodec",
    "Framed",
    "JsonCodec",
    "JsonLinesCodec",
    "MultipartCodec",
    "Record",
    "TextCodec",
    "XmlCodec",
    "built_in_codecs",
    "media_type",
]


def built_in_codecs() -> Codecs:
    """The formats that come with Dovetail."""
    json, lines, xml = JsonCodec(), JsonLinesCodec(), XmlCodec()
    plain: list[Codec] = [json, lines, xml, CsvCodec(), TextCodec(), FormCodec(), MultipartCodec(), OPAQUE]
    return Codecs(
        {codec.name: codec for codec in plain},
        {
            "application/json": lambda given: JsonCodec(given["charset"].lower()) if "charset" in given else json,
            "text/json": lambda given: json,
            "+json": lambda given: json,
            "application/x-ndjson": lambda given: lines,
            "application/jsonl": lambda given: lines,
            "application/xml": lambda given: XmlCodec(given.get("charset")),
            "text/xml": lambda given: XmlCodec(given.get("charset")),
            "+xml": lambda given: XmlCodec(given.get("charset")),
            "text/csv": lambda given: CsvCodec(Dialect(encoding=given.get("charset", "utf-8"))),
            "text/plain": lambda given: TextCodec(given.get("charset", "utf-8")),
            "application/x-www-form-urlencoded": lambda given: FormCodec(given.get("charset", "utf-8")),
            "multipart/form-data": lambda given: MultipartCodec(given.get("boundary", "")),
        },
    )
