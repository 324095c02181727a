"""Structured logs: one line an event, JSON for machines or columns for people, on standard error.

Bodies and secrets never reach a line: fields that could carry them are masked by name, registered secrets by value, and
the text of an error stays in the message's history (`dovetail show`); a line has the error's code and the message's id.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from dovetail.clock import Clock
from dovetail.engine.observer import Observer
from dovetail.message import Message
from dovetail.sdk import Log

MASK = "***"
LONGEST = 500  # characters of one value
MOST_ITEMS, DEEPEST = 50, 3
HIDDEN = re.compile(
    r"body|payload|headers?|authorization|cookie|passw|secret|token|credential|api_?key|variables", re.I
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

Format = Literal["auto", "json", "console"]


class Logs:
    """Where lines go. Made once per process; `named` gives loggers."""

    def __init__(
        self, clock: Clock, *, format: Format = "auto", level: str = "info", secrets: Iterable[str] = (),
        stream: TextIO | None = None,
    ) -> None:  # fmt: skip
        """`secrets` are the values to mask wherever they appear; short ones (under 4 characters) are not looked for."""
        out = sys.stderr if stream is None else stream
        pretty = format == "console" or (format == "auto" and out.isatty())
        words = sorted((word for word in secrets if len(word) >= 4), key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, words))) if words else None
        self._clock = clock
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._root = structlog.wrap_logger(
            structlog.WriteLogger(out),
            processors=[
                structlog.processors.add_log_level, self._stamp, self._guard, *(_console() if pretty else _json()),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(self._level),
        )  # fmt: skip

    def named(self, name: str) -> Log:
        """A logger whose lines carry `logger=name`."""
        return cast(Log, self._root.bind(logger=name))

    def adopt_stdlib(self) -> None:
        """Send what libraries log through the standard library here too, from warnings upwards."""
        root = logging.getLogger()
        root.handlers[:] = [_Bridge(self)]
        root.setLevel(max(self._level, logging.WARNING))

    def _stamp(self, logger: Any, method: str, event: EventDict) -> EventDict:
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        event["time"] = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event

    def _guard(self, logger: Any, method: str, event: EventDict) -> EventDict:
        return self._fields(event, DEEPEST)

    def _fields(self, fields: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return {
            str(name): MASK if HIDDEN.search(str(name)) and value is not None else self._plain(value, depth)
            for name, value in fields.items()
        }

    def _plain(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if depth and isinstance(value, Mapping):
            return self._fields(value, depth - 1)
        if depth and isinstance(value, list | tuple):
            return [self._plain(item, depth - 1) for item in value[:MOST_ITEMS]]
        text = value if isinstance(value, str) else repr(value)
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


class _Bridge(logging.Handler):
    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        log = self._logs.named(record.name)
        fields = {"error": repr(record.exc_info[1])} if record.exc_info and record.exc_info[1] else {}
        (log.error if record.levelno >= logging.ERROR else log.warning)(record.getMessage(), **fields)


def _json() -> list[Processor]:
    encode = msgspec.json.Encoder().encode

    def render(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        ordered = {name: event.pop(name) for name in ("time", "level", "logger", "event") if name in event}
        return encode(ordered | dict(event)).decode()

    return [render]


def _console() -> list[Processor]:
    def tame(logger: Any, method: str, event: EventDict) -> EventDict:
        """Text from outside must not steer the terminal."""
        return {
            name: value if isinstance(value, int | float | None) else _CONTROL.sub(_visible, str(value))
            for name, value in event.items()
        }

    return [tame, structlog.dev.ConsoleRenderer(timestamp_key="time", pad_event_to=24)]


def _visible(bad: re.Match[str]) -> str:
    return f"\\x{ord(bad[0]):02x}"


class Limiter:
    """At most `most` lines of one kind in `seconds`; then the next line says how many were left out."""

    def __init__(self, clock: Clock, most: int = 5, seconds: float = 10.0) -> None:
        self._clock, self._most, self._seconds = clock, most, seconds
        self._windows: dict[tuple[str, ...], list[float]] = {}  # kind -> [window's start, lines in it, left out]

    def allows(self, *kind: str) -> Mapping[str, int] | None:
        """The fields to add to the line (`left_out` when lines are missing before it), or None for no line."""
        now = self._clock.monotonic()
        window = self._windows.get(kind)
        if window is None:
            if len(self._windows) >= 1000:
                self._windows.clear()
            window = self._windows[kind] = [now, 0, 0]
        if now - window[0] >= self._seconds:
            window[0], window[1] = now, 0
        if window[1] >= self._most:
            window[2] += 1
            return None
        window[1] += 1
        left_out, window[2] = int(window[2]), 0
        return {"left_out": left_out} if left_out else {}


class LogObserver(Observer):
    """Writes down what an operator would want to be told; what goes well is counted, not logged."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._limit = Limiter(clock)

    def refused(self, flow: str, code: str) -> None:
        extra = self._limit.allows("refused", flow, code)
        if extra is not None:
            self._log.warning("message_refused", flow=flow, code=code, **extra)

    def dead(self, flow: str, message: Message) -> None:
        """A message became a dead letter; told by `Metrics`, so that the many that do not pay nothing for it."""
        extra = self._limit.allows("dead", flow)
        if extra is not None:
            self._log.error("message_dead", flow=flow, message=message.id, **extra)

    def failed(self, flow: str, step: str, code: str, message: Message, error: Exception) -> None:
        extra = self._limit.allows("failed", flow, step, code)
        if extra is not None:
            target = getattr(error, "target", None)
            fields = {"target": target} if target else {}
            self._log.warning("attempt_failed", flow=flow, step=step, code=code, message=message.id, **fields, **extra)

    def breaker(self, target: str, state: str) -> None:
        say = self._log.warning if state == "open" else self._log.info
        say("breaker", target=target, state=state)

    def store(self, available: bool, reason: str) -> None:
        if available:
            self._log.info("store_available")
        else:
            self._log.error("store_unavailable", reason=reason)
