"""Points in time: ISO 8601 and picture strings."""

from __future__ import annotations

from typing import Any

from ..values import UNDEFINED
from . import moments
from .declare import Declared, function

U = UNDEFINED
FUNCTIONS: list[Declared] = []


@function(FUNCTIONS, "<s?s?:s>", stateful=True)
def now(state: Any, picture: Any = U, timezone: Any = U) -> Any:
    """The time of this evaluation as text, in ISO 8601 or as the picture says."""
    return moments.format_moment(state, state.environment.now_ms, picture, timezone)


@function(FUNCTIONS, "<:n>", stateful=True)
def millis(state: Any) -> Any:
    """The time of this evaluation in milliseconds since 1970-01-01 UTC."""
    return state.environment.now_ms


@function(
    FUNCTIONS, "<n-s?s?:s>",
    ("$fromMillis(1510067557121)", "2017-11-07T15:12:37.121Z"),
    ('$fromMillis(1510067557121, "[M01]/[D01]/[Y0001] [h#1]:[m01][P]")', "11/07/2017 3:12pm"),
    stateful=True,
)  # fmt: skip
def fromMillis(state: Any, value: Any, picture: Any = U, timezone: Any = U) -> Any:
    """Milliseconds since 1970-01-01 UTC as text, in ISO 8601 or as the picture says, in the timezone (`+hhmm`)."""
    return U if value is U else moments.format_moment(state, value, picture, timezone)


@function(
    FUNCTIONS, "<s-s?:n>",
    ('$toMillis("2017-11-07T15:07:54.972Z")', 1510067274972),
    ('$toMillis("7.11.2017", "[D].[M].[Y]")', 1510012800000),
    stateful=True,
)  # fmt: skip
def toMillis(state: Any, text: Any, picture: Any = U) -> Any:
    """The point in time that a text shows, in milliseconds since 1970-01-01 UTC."""
    if text is U:
        return U
    if picture is U:
        return moments.parse_iso(text)
    return moments.parse_moment(state, text, picture)
