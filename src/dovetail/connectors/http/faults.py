"""How an HTTP call can go wrong, and what the engine does next: the whole table.

A fault says how far the request came; a status says what the target made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from dovetail.sdk import InDoubt, MessageError, Paused, Rejected, Repeat, Retry, Throttled


class Fault(Exception):
    """There is no answer. The text says why, for a person."""


class Unresolved(Fault):
    """The name has no address."""


class Denied(Fault):
    """The address is one that no connection may reach."""


class Untrusted(Fault):
    """TLS failed: the certificate, the name in it, or the protocol."""


class Unsent(Fault):
    """Nothing was sent: no connection could be had in time, or it was refused."""


class Unanswered(Fault):
    """The request went out, at least in part, and no complete answer came back."""


FAULTS: dict[type[Fault], tuple[type[MessageError], str]] = {
    Unresolved: (Paused, "name_unresolved"),
    Denied: (Paused, "address_denied"),
    Untrusted: (Paused, "tls"),
    Unsent: (Retry, "unreachable"),
    Unanswered: (InDoubt, "unanswered"),
}

# What a status means when it is not a success. `None`: the target may have done it before it failed, so where a repeat
# is safe it is simply made (Retry), and where it is not the outcome is in doubt.
STATUSES: dict[int, type[MessageError] | None] = {
    401: Paused,  # after the credentials were renewed once, if they can be
    407: Paused,
    408: Retry,  # the target says itself that it did not take the request
    421: Retry,
    423: Retry,
    425: Retry,
    429: Throttled,
    503: Retry,
}
_CLASSES: dict[int, type[MessageError] | None] = {
    2: Rejected,  # a success, but not one that the operation expects
    3: Rejected,  # redirects are not followed: the connection's address is wrong
    4: Rejected,
    5: None,
}
PAUSE = 30.0  # seconds until somebody looks again whether a paused target can be used


def of_fault(fault: Fault, target: str) -> MessageError:
    """The engine's error for a fault."""
    kind, code = FAULTS[type(fault)]
    text = f"{target}: {fault}"
    if issubclass(kind, Retry):  # nothing was sent
        return kind(text, code=code, after=PAUSE if kind is Paused else None, untouched=True)
    return kind(text, code=code)


def of_status(
    status: int, headers: Mapping[str, str], detail: Any, repeat: Repeat, target: str, now_ms: int
) -> MessageError:
    """The engine's error for an answer that is no success."""
    kind = STATUSES[status] if status in STATUSES else _CLASSES.get(status // 100, InDoubt)
    untouched = kind is not None
    if kind is None:
        kind = Retry if repeat.safe else InDoubt
    text, code = f"{target} answered {status}", f"http_{status}"
    if issubclass(kind, Retry):
        after = retry_after(headers.get("retry-after"), now_ms)
        return kind(text, code=code, detail=detail, untouched=untouched,
                    after=PAUSE if kind is Paused and after is None else after)  # fmt: skip
    error = kind(text, code=code, detail=detail)
    if isinstance(error, Rejected) and status == 409:
        error.untouched = False  # some targets say so of a key whose first use is still under way
    return error


def retry_after(text: str | None, now_ms: int) -> float | None:
    """Retry-After in seconds, from either of its two forms; None if it is missing or nonsense. At most a day."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), 86_400.0)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC of unknown origin
        return None
    return min(max(0.0, moment.timestamp() - now_ms / 1000), 86_400.0)
