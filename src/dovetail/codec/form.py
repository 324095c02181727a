"""HTML forms: `a=1&b=2`. A name that comes once is a text, one that repeats is a list."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode

from dovetail.codec.base import CodecError, charset_of, to_text
from dovetail.codec.text import scalar_text


class FormCodec:
    """`application/x-www-form-urlencoded`."""

    name = "form"
    media_type = "application/x-www-form-urlencoded"

    def __init__(self, charset: str = "utf-8", max_fields: int = 1000) -> None:
        self.charset = charset
        self.max_fields = max_fields

    def decode(self, body: bytes) -> dict[str, Any]:
        """Names to texts or lists of texts. Raises CodecError for wrong bytes and for too many fields."""
        text = to_text(body, self.charset)
        try:
            pairs = parse_qsl(
                text, keep_blank_values=True, encoding=charset_of(self.charset), errors="strict",
                max_num_fields=self.max_fields,
            )  # fmt: skip
        except UnicodeDecodeError:
            raise CodecError(f"an escaped byte is not valid {self.charset}") from None
        except ValueError:
            raise CodecError(f"more than {self.max_fields} fields") from None
        return gather(pairs)

    def encode(self, value: Any) -> bytes:
        """The form of an object of texts, numbers and lists of them."""
        if not isinstance(value, dict):
            raise CodecError(f"a form is written from an object, not from a {type(value).__name__}")
        pairs = [
            (str(name), scalar_text(one))
            for name, item in value.items()
            for one in (item if isinstance(item, list | tuple) else [item])
        ]
        try:
            return urlencode(pairs, encoding=charset_of(self.charset), errors="strict").encode("ascii")
        except UnicodeEncodeError as error:
            raise CodecError(f"a form in {self.charset} cannot hold {error.object[error.start]!r}") from None


def gather(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Pairs to an object; a repeated name holds a list."""
    result: dict[str, Any] = {}
    repeated: set[str] = set()
    for name, value in pairs:
        if name not in result:
            result[name] = value
        elif name in repeated:
            result[name].append(value)
        else:
            repeated.add(name)
            result[name] = [result[name], value]
    return result
