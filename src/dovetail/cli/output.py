"""How answers look: tables for people, JSON for machines. Text from outside never steers the terminal."""

from __future__ import annotations

import io
import re
import sys
from datetime import datetime
from typing import Any, Literal

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

STYLES = {
    "done": "green", "dead": "bold red", "discarded": "dim", "pending": "cyan", "waiting": "yellow", "held": "yellow",
    "in_doubt": "magenta", "split": "cyan", "running": "cyan", "failed": "red", "dropped": "dim", "open": "bold red",
    "half_open": "yellow", "closed": "green", "intended": "magenta", "compensating": "magenta", "compensated": "yellow",
}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
WIDE = 250  # columns when nobody looks: a pipe or a file gets whole lines


def write_json(value: Any) -> None:
    """A struct or plain data on standard output, indented."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def write(*parts: RenderableType, whole: bool = False) -> None:
    """Drawn parts on standard output, one beneath the other; in a pipe or a file lines are long and end where they end.

    `whole`: on a terminal, too, lines are left to it to wrap, so that they can be pasted.
    """
    if sys.stdout.isatty():
        Console(highlight=False).print(*parts, sep="\n", soft_wrap=whole)
        return
    drawn = Console(file=io.StringIO(), width=WIDE, highlight=False)
    with drawn.capture() as capture:
        drawn.print(*parts, sep="\n", soft_wrap=whole)
    sys.stdout.writelines(f"{each.rstrip()}\n" for each in capture.get().splitlines())


def notes() -> Console:
    """Standard error for people: progress and remarks."""
    return Console(stderr=True, highlight=False)


def tame(text: str) -> str:
    """Text from outside with every character that steers a terminal made visible."""
    return _CONTROL.sub(lambda bad: f"\\x{ord(bad[0]):02x}" if ord(bad[0]) < 256 else f"\\u{ord(bad[0]):04x}", text)


def line(text: str) -> str:
    """Tame text on one line."""
    return tame(" ".join(text.split()))


def word(state: str) -> Text:
    """A state in its colour."""
    return Text(state.replace("_", " "), STYLES.get(state, ""))


def table(*columns: str, right: tuple[str, ...] = (), flexible: tuple[str, ...] = ()) -> Table:
    """An empty table. `right`: numbers; `flexible`: wrapped when the screen is narrow; the others are cut then."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for name in columns:
        fold = name in flexible
        overflow: Literal["fold", "ellipsis"] = "fold" if fold else "ellipsis"
        made.add_column(name, justify="right" if name in right else "left", no_wrap=not fold, overflow=overflow)
    return made


def keep(made: Table, column: str) -> Table:
    """The same table with one column that is never cut: what stands there is meant to be pasted."""
    for each in made.columns:
        if each.header == column:
            each.min_width = max((len(str(cell)) for cell in each.cells), default=0)
    return made


def number(n: int) -> Text:
    """A count with thousands set apart; a zero steps back."""
    return Text(f"{n:,}", "dim" if n == 0 else "")


def when(ms: int) -> str:
    """A time on this machine's clock."""
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def span(seconds: float) -> str:
    """A length of time in its two largest units: `3m 20s`."""
    left, parts = int(abs(seconds)), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2]) or "0s"


def relative(ms: int, now_ms: int) -> str:
    """A time as seen from now: `in 3m 20s`, `5s ago`."""
    seconds = (ms - now_ms) / 1000
    return f"in {span(seconds)}" if seconds > 0 else f"{span(seconds)} ago"


def size(n: int) -> str:
    """Bytes in the unit that reads best."""
    value = float(n)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1024 or unit == "GB":
            return f"{n} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError
