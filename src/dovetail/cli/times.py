"""Times as people type them."""

from __future__ import annotations

import re
from datetime import datetime

from dovetail.clock import SystemClock
from dovetail.errors import Refused

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def moment(text: str | None, option: str) -> int:
    """Milliseconds of `2h` (ago), `2026-11-21` or `2026-11-21T10:00` (any zone); 0 for none. Raises `Refused`."""
    if not text:
        return 0
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if ago:
        return SystemClock().now_ms() - int(ago[1]) * _UNITS[ago[2]] * 1000
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise Refused(
            f"{option} '{text}' is no time: write 30m, 2h or 3d (ago), 2026-11-21 or 2026-11-21T10:00", code="time"
        ) from error


def pace(text: str | None) -> float:
    """Messages a second of `10/s`, `300/m` or `10`; 0 for none. Raises `Refused`."""
    if not text:
        return 0.0
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)(?:/([smh]))?", text)
    if not match or float(match[1]) == 0:
        raise Refused(f"--rate '{text}' is no rate: write 10/s, 300/m or 50/h", code="rate")
    return float(match[1]) / _UNITS[match[2] or "s"]
