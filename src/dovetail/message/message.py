"""One message: CloudEvents attributes, headers and a body that is decoded only when somebody looks.

The bytes that came in go out again unless a step puts a new value in their place, so a flow that only passes a
message on passes it on byte for byte.
"""

from __future__ import annotations

from typing import Any, Protocol

_UNREAD: Any = object()


class Codec(Protocol):
    """Bytes to values and back, for one media type. Raises a `dovetail.errors.Rejected` on bytes it cannot read.

    A codec that is strict with strange bytes may have a quicker `reread(body)` for bytes that it has read or written
    itself.
    """

    name: str
    media_type: str

    def decode(self, body: bytes) -> Any: ...

    def encode(self, value: Any) -> bytes: ...


class OpaqueCodec:
    """Bytes nobody asked us to understand: the value is the bytes."""

    name = "bytes"
    media_type = "application/octet-stream"

    def decode(self, body: bytes) -> Any:
        return body

    def encode(self, value: Any) -> bytes:
        return value if isinstance(value, bytes) else str(value).encode()


OPAQUE = OpaqueCodec()


class Message:
    """One message in flight. Treat it as frozen: `with_value`, `with_body`, `with_headers` and `with_var` make a
    new one.

    `id`, `source`, `type`, `time_ms` and `subject` are the CloudEvents attributes. `ref` is the journal's number of
    the accepted message that this one descends from (0 before acceptance): every effect is traced to it. `origin` is
    what its effects are named by: derived from its dedupe id if it has one, so that it is the same on any store, else
    its id. `variables`
    is what steps remembered with `as:`; a flow reads it as `$vars`.
    """

    __slots__ = (
        "_body", "_sound", "_value", "codec", "content_type", "headers", "id", "key", "origin", "parent", "ref",
        "source", "subject", "time_ms", "trace", "type", "variables",
    )  # fmt: skip

    def __init__(
        self,
        body: bytes | None,
        *,
        codec: Codec = OPAQUE,
        value: Any = _UNREAD,
        content_type: str | None = None,
        headers: dict[str, str] | None = None,
        id: str = "",
        source: str = "",
        type: str = "",
        time_ms: int = 0,
        subject: str | None = None,
        key: str | None = None,
        trace: str | None = None,
        ref: int = 0,
        parent: str | None = None,
        variables: dict[str, Any] | None = None,
        sound: bool = False,
    ) -> None:
        self._body = body
        self._value = value
        self._sound = sound
        self.codec = codec
        self.content_type = content_type or codec.media_type
        self.headers: dict[str, str] = {} if headers is None else headers
        self.id = id
        self.source = source
        self.type = type
        self.time_ms = time_ms
        self.subject = subject
        self.key = key
        self.origin = ""
        self.trace = trace
        self.ref = ref
        self.parent = parent
        self.variables: dict[str, Any] = {} if variables is None else variables

    @property
    def value(self) -> Any:
        """The decoded body; decoded once. Raises `Rejected` when the bytes are not what they say they are."""
        if self._value is _UNREAD:
            codec = self.codec
            read = getattr(codec, "reread", codec.decode) if self._sound else codec.decode
            self._value = read(self._body or b"")
        return self._value

    @property
    def sound(self) -> bool:
        """Whether the bytes are known to be what they say they are: the codec has read or written them before."""
        return self._sound or self._value is not _UNREAD

    @property
    def body(self) -> bytes:
        """The bytes: those that came in, or the encoding of the value that a step put in their place."""
        if self._body is None:
            self._body = self.codec.encode(self._value)
        return self._body

    @property
    def size(self) -> int:
        """Length of the body in bytes when it is at hand, else 0 (a mapped value that was not written yet)."""
        return len(self._body) if self._body is not None else 0

    def _copy(self) -> Message:
        new = Message.__new__(Message)
        new._body, new._value, new._sound, new.codec = self._body, self._value, self._sound, self.codec
        new.content_type, new.headers, new.variables = self.content_type, self.headers, self.variables
        new.id, new.source, new.type, new.time_ms, new.subject = (
            self.id, self.source, self.type, self.time_ms, self.subject,
        )  # fmt: skip
        new.key, new.trace, new.ref, new.parent = self.key, self.trace, self.ref, self.parent
        new.origin = self.origin
        return new

    def with_value(self, value: Any, codec: Codec | None = None) -> Message:
        """The same message with another value; it is encoded when somebody asks for the bytes."""
        new = self._copy()
        new._value, new._body = value, None
        if codec is not None:
            new.codec, new.content_type = codec, codec.media_type
        return new

    def with_body(self, body: bytes, codec: Codec | None = None, content_type: str | None = None) -> Message:
        """The same message with other bytes."""
        new = self._copy()
        new._sound = body is self._body and codec is None and content_type is None and self.sound
        new._value, new._body = _UNREAD, body
        if codec is not None:
            new.codec, new.content_type = codec, codec.media_type
        if content_type is not None:
            new.content_type = content_type
        return new

    def with_headers(self, headers: dict[str, str]) -> Message:
        """The same message with these headers in place of its own."""
        new = self._copy()
        new.headers = headers
        return new

    def with_var(self, name: str, value: Any) -> Message:
        """The same message remembering `value` as `$vars.<name>`."""
        new = self._copy()
        new.variables = {**self.variables, name: value}
        return new

    def with_vars(self, variables: dict[str, Any]) -> Message:
        """The same message with these variables in place of its own."""
        new = self._copy()
        new.variables = variables
        return new
