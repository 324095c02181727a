"""Values that people write as short text: durations, sizes, rates and secrets."""

from __future__ import annotations

import hmac
import re
from typing import Any, ClassVar, NoReturn, Self

MASK = "***"


class Scalar:
    """A value with a notation of its own. `parse` raises ValueError with what is wrong."""

    label: ClassVar[str]
    example: ClassVar[str]
    pattern: ClassVar[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        raise NotImplementedError


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


class Duration(Scalar, float):
    """Seconds, written `500ms`, `30s`, `5m`, `24h`, `7d`, `2w` or joined: `1h30m`."""

    label = "a duration"
    example = "30s"
    pattern = r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$"

    @classmethod
    def parse(cls, text: str) -> Self:
        parts = _DURATION.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError("write a number and a unit: 500ms, 30s, 5m, 24h, 7d")
        return cls(sum(float(number) * _SECONDS[unit] for number, unit in parts))

    def __str__(self) -> str:
        for unit in ("w", "d", "h", "m", "s"):
            count = float(self) / _SECONDS[unit]
            if count >= 1 and count == int(count):
                return f"{int(count)}{unit}"
        return f"{float(self) * 1000:g}ms" if 0 < self < 1 else f"{float(self):g}s"

    def __repr__(self) -> str:
        return f"Duration('{self}')"


_BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKMGT]?i?B)")


class Size(Scalar, int):
    """Bytes, written `512B`, `64KB`, `1MB`, `2GB` (powers of ten) or `64KiB`, `1MiB` (powers of two)."""

    label = "a size"
    example = "1MB"
    pattern = r"^\d+(\.\d+)? ?([kKMGT]?B|[KMGT]iB)$"

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _SIZE.fullmatch(text)
        if match is None or match[2] not in _BYTES:
            raise ValueError("write a number and a unit: 512B, 64KB, 1MB, 2GB (or KiB, MiB, GiB)")
        return cls(round(float(match[1]) * _BYTES[match[2]]))

    def __str__(self) -> str:
        number = int(self)
        for unit in ("TB", "TiB", "GB", "GiB", "MB", "MiB", "KB", "KiB"):
            if number and number % _BYTES[unit] == 0:
                return f"{number // _BYTES[unit]}{unit}"
        return f"{number}B"

    def __repr__(self) -> str:
        return f"Size('{self}')"


_RATE = re.compile(r"(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)?(ms|s|m|h|d)")


class Rate(Scalar, float):
    """Events a second, written `100/s`, `10/m` or `5/30s`: at most `count` in any `period` (seconds)."""

    label = "a rate"
    example = "100/s"
    pattern = r"^\d+(\.\d+)?/(\d+(\.\d+)?)?(ms|s|m|h|d)$"
    count: float
    period: float
    _text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _RATE.fullmatch(text)
        period = float(match[2] or 1) * _SECONDS[match[3]] if match else 0.0
        if match is None or not period:
            raise ValueError("write a number, a slash and a unit of time: 100/s, 10/m, 5/30s")
        rate = cls(float(match[1]) / period)
        rate.count, rate.period, rate._text = float(match[1]), period, text
        return rate

    def __new__(cls, per_second: float) -> Self:
        rate = super().__new__(cls, per_second)
        rate.count, rate.period, rate._text = float(per_second), 1.0, f"{float(per_second):g}/s"
        return rate

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Rate('{self}')"


class Secret(str):
    """Text that shows itself as `***` wherever it is printed, joined, formatted or encoded; `reveal()` gives the value.

    The string underneath *is* the mask, so a forgotten `reveal()` sends `***` and never the secret.
    """

    _value: str

    def __new__(cls, value: str) -> Self:
        secret = super().__new__(cls, MASK)
        secret._value = value.reveal() if isinstance(value, Secret) else value
        return secret

    def reveal(self) -> str:
        """The secret itself. Only where it is sent or compared."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret is not serialised")


class Loose(str):
    """Text out of the environment: it may stand for a number or a yes/no, because an environment has only text."""
