"""Messages of one flow or of many, newest first over all of them, a bounded look at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase

from dovetail.control.answers import MOST_LINES, MessageLine, Page, Search, states
from dovetail.control.hand import FlowPlace
from dovetail.engine.memo import unpack
from dovetail.errors import Refused
from dovetail.store.base import Progress, Query, Row, State, Store

MOST_LOOKS = 200  # calls of the store's search for one page; the next page continues
_END = 2**63 - 1

Draw = Callable[[FlowPlace, Row, Progress | None], MessageLine]


class Searching:
    """One page. Messages come by their journal number, the newest first, and of the same message by the flow's name.

    A page's `next` is `flow:number` of its last line; without a flow, everything from that number on was looked at.
    Raises `Refused`.
    """

    def __init__(self, store: Store, search: Search, flows: list[FlowPlace], draw: Draw) -> None:
        if not 0 < search.limit <= MOST_LINES:
            raise Refused(f"limit must be from 1 to {MOST_LINES}, not {search.limit}", status=422, code="limit")
        self._store, self._search, self._draw = store, search, draw
        self._wanted = states(search.states)
        name, _, number = search.before.rpartition(":")
        last = _number(number)
        most = min(search.limit, max(20, 2 * search.limit // max(1, len(flows))))
        self._flows = [
            Looking(flow, last + 1 if name and flow.name > name and last < _END else last, most) for flow in flows
        ]

    async def page(self) -> Page:
        """The page, after at most `MOST_LOOKS` looks."""
        lines: list[MessageLine] = []
        looks = 0
        while left := [flow for flow in self._flows if flow.lines or flow.before]:
            flow = max(left, key=lambda flow: flow.reached)  # the first of equals, by name
            if flow.lines:
                number, line = flow.lines.popleft()
                lines.append(line)
                if len(lines) == self._search.limit:
                    more = any(flow.lines or flow.before for flow in self._flows)
                    return Page(lines, f"{line.flow}:{number}" if more else "")
            elif looks == MOST_LOOKS:
                return Page(lines, f":{flow.before}")
            else:
                self._look(flow)
                looks += 1
                await asyncio.sleep(0)  # the engine goes first
        return Page(lines)

    def _look(self, flow: Looking) -> None:
        place, search, wanted = flow.place, self._search, self._wanted
        if place.left:
            wanted = tuple(state for state in wanted or State if state is not State.FRESH)
        if place.left and not wanted:
            flow.before = 0
            return
        query = Query(
            flow=place.number, stream=place.stream, states=wanted, key=search.key, since=search.since,
            until=search.until, text=search.text.encode(), before=flow.before, limit=flow.most,
        )  # fmt: skip
        rows, flow.before = self._store.progress.find(query)
        flow.lines += [
            (row.seq, self._draw(place, row, progress)) for row, progress in rows if fits(search, row, progress)
        ]


class Looking:
    """How far one flow was looked through: what was found and is not told yet, and below which number to go on."""

    def __init__(self, place: FlowPlace, before: int, most: int) -> None:
        self.place, self.before, self.most = place, before, most
        self.lines: deque[tuple[int, MessageLine]] = deque()

    @property
    def reached(self) -> int:
        """The highest number that its next line can have."""
        return self.lines[0][0] if self.lines else self.before - 1


def fits(search: Search, row: Row, progress: Progress | None) -> bool:
    """Whether a message is what is looked for, as far as only its own row of progress knows."""
    if not (search.reason or search.step or search.version):
        return True
    memo = unpack(progress.memo if progress is not None else b"")
    if search.version and search.version != (memo.version or row.version):
        return False
    if search.step and not (memo.history and fnmatchcase(memo.history[-1].step, search.step)):
        return False
    return progress.reason.startswith(search.reason) if progress is not None else not search.reason


def _number(text: str) -> int:
    """The number in a page's `next`, the end of the journal for none."""
    if text and not (text.isascii() and text.isdigit() and 0 < int(text) < _END):
        raise Refused(f"'{text[:40]}' is no page's end; give the `next` of a page as it was", status=422, code="before")
    return int(text) if text else _END
