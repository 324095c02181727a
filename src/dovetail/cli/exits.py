"""Exit codes, and how an error becomes one line and a code."""

from __future__ import annotations

import json
import sys

OK, PROBLEMS, USAGE, UNREACHABLE, NOT_FOUND, CONFLICT = range(6)
FAILED = 70
INTERRUPTED = 130

MEANINGS = {
    OK: "done",
    PROBLEMS: "problems found, or something failed",
    USAGE: "wrong usage",
    UNREACHABLE: "server or store cannot be reached",
    NOT_FOUND: "not found",
    CONFLICT: "not possible as things stand",
    FAILED: "the server could not go on: start it again",
    INTERRUPTED: "interrupted",
}

UNREACHABLE_CODES = frozenset(
    {"no-store", "no-project", "unreachable", "unavailable", "store", "listen", "token", "host"}
)


def code_of(error: BaseException) -> int:
    """The exit code of an error."""
    from dovetail.errors import Refused

    if isinstance(error, Refused):
        by_status = {404: NOT_FOUND, 409: CONFLICT, 401: UNREACHABLE, 403: UNREACHABLE, 421: UNREACHABLE}
        return by_status.get(error.status, USAGE)
    return UNREACHABLE if getattr(error, "code", "") in UNREACHABLE_CODES else PROBLEMS


def words_of(error: BaseException) -> str:
    """The error in one line. What is not one of ours names its kind, so that it can be reported."""
    from dovetail.errors import DovetailError

    if isinstance(error, DovetailError):
        return " ".join(error.message.split())
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return f"a fault in Dovetail itself: {type(error).__name__}: {' '.join(str(error).split())}"


def report(text: str, code: str, exit_code: int, as_json: bool) -> int:
    """Write the error's line on standard error; the exit code."""
    line = json.dumps({"error": {"code": code, "message": text, "exit": exit_code}}) if as_json else f"dovetail: {text}"
    sys.stderr.write(line + "\n")
    return exit_code
