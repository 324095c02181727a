"""CloudEvents 1.0 over HTTP: binary mode (`ce-` headers) and structured mode (one JSON document)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from dovetail.sdk import OPAQUE, Codecs, Message, Refused

STRUCTURED = "application/cloudevents+json"
_CONTENT = ("data", "data_base64", "datacontenttype")
_REQUIRED = ("id", "source", "type")


def binary(message: Message, headers: Mapping[str, str]) -> tuple[Message, str]:
    """The message with the attributes of its `ce-` headers, and the event's name. Raises `Refused` (400)."""
    attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    return message, _describe(message, attributes)


def structured(document: Any, message: Message, codecs: Codecs) -> tuple[Message, str]:
    """The event's data as a message with its attributes, and the event's name. Raises `Refused` (400).

    The attributes become `ce-` headers too, so that a flow finds them in one place whatever mode the sender chose.
    """
    if not isinstance(document, dict):
        raise _wrong("a structured event is one JSON object")
    kind = document.get("datacontenttype") or "application/json"
    if not isinstance(kind, str):
        raise _wrong("datacontenttype must be text")
    codec = codecs.for_content_type(kind)
    if "data_base64" in document:
        try:
            message = message.with_body(base64.b64decode(document["data_base64"], validate=True), codec, kind)
        except (binascii.Error, TypeError, ValueError):
            raise _wrong("data_base64 is not base64") from None
    elif "data" not in document:
        message = message.with_body(b"", OPAQUE, kind)
    elif isinstance(document["data"], str) and codec.name != "json":
        message = message.with_body(document["data"].encode(), codec, kind)
    else:
        message = message.with_value(document["data"], codecs.by_name("json"))
        message.content_type = kind
    words = {name: value for name, value in document.items() if name not in _CONTENT and isinstance(value, str | int)}
    message.headers = message.headers | {f"ce-{name}": str(value) for name, value in words.items()}
    return message, _describe(message, document)


def _describe(message: Message, attributes: Mapping[str, Any]) -> str:
    """Set the attributes on a message that nobody else has seen yet. The event's name is its source and id together."""
    if attributes.get("specversion") != "1.0":
        raise _wrong("the specversion must be 1.0")
    for name in _REQUIRED:
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise _wrong(f"the attribute {name} is missing or empty")
    subject, time = attributes.get("subject"), attributes.get("time")
    if subject is not None and not isinstance(subject, str):
        raise _wrong("the attribute subject must be text")
    message.source, message.type, message.subject = attributes["source"], attributes["type"], subject
    if time is not None:
        message.time_ms = _time_ms(time)
    return f"{attributes['source']} {attributes['id']}"


def _time_ms(text: Any) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _wrong("the attribute time must be a timestamp such as 2018-04-05T03:56:24Z")
    return round(moment.timestamp() * 1000)


def _wrong(what: str) -> Refused:
    return Refused(f"not a CloudEvent: {what}", status=400, code="cloudevent")
