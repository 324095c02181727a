"""Content-Encoding, with a bound on what may come out."""

from __future__ import annotations

import zlib

from dovetail.sdk import Refused

_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before its Content-Encoding. Raises `Refused`: 415 unknown, 413 over `limit`, 400 broken."""
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in _BITS:
        raise Refused(f"the content encoding {coding!r} is not understood", status=415, code="content_encoding")
    try:
        return _inflate(body, _BITS[coding], limit)
    except zlib.error as error:
        if coding == "deflate":  # some senders mean the bare stream, without its zlib wrapper
            try:
                return _inflate(body, -15, limit)
            except zlib.error:
                pass
        raise Refused(f"the body is not {coding}: {error}", status=400, code="content_encoding") from None


def _inflate(body: bytes, bits: int, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while body:
        stream = zlib.decompressobj(bits)
        part = stream.decompress(body, limit - size + 1)
        size += len(part)
        if size > limit:
            raise Refused(f"the body unpacks to more than {limit} bytes", status=413, code="body_too_large")
        if not stream.eof:
            raise zlib.error("it ends too early")
        parts.append(part)
        body = stream.unused_data if bits == 31 else b""  # a gzip file may have several members
    return b"".join(parts)
