"""What clients, targets and operators saw: the events that a checker judges a run by.

Never written by the engine. A simulation collects events in a list; real processes append lines of JSON to one file
each with `Recorder`, and `read` brings the files together. In Python::

    recorder = Recorder(path)                                  # any process; one line per event, flushed
    recorder.add(Send("invoke", "order-1", flow="orders", hash=digest(body), wants=[("erp", "", [digest(invoice)])]))
    recorder.add(Send("ok", "order-1", flow="orders", ref="abc-1f"))       # Dovetail's id of the message
    report = check(read([path, …]))                            # of dovetail.testkit.checker

Who writes what: a *client* `Send`; a *target* `Call` when a call arrives, `Answer` when it has answered, `Effect` for
what it did; whoever injects faults `Fault`, and `Crash` for every death; an *operator* (the desk's API is enough)
`Redrive`, and at the end `Drained`, then one `Seen` for every message of every flow, one `Count` for every flow, and
`Audited` for the audit's events. Events of one file keep their order; `at` orders files among each other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal

Want = tuple[str, str, Sequence[str]]  # target, part ("" for the whole message), acceptable hashes


def digest(body: bytes) -> str:
    """A content as events speak of it."""
    return blake2b(body, digest_size=8).hexdigest()


@dataclass(slots=True)
class Event:
    """`at` is seconds by the writer's clock; files of several processes are merged by it."""

    kind: ClassVar[str]
    at: float = field(default=0.0, kw_only=True)


@dataclass(slots=True)
class Send(Event):
    """A client and one message of its own id. `invoke` before it is handed over; then `ok` (accepted, or known as a
    duplicate), `fail` (surely refused: 4xx) or `info` (nobody knows: 5xx, a reset, a crash).

    On `invoke`: `hash` of the body, `wants` the effects that it must have caused once it is done, `may` those that it
    may cause as well. `stands`: how the reason begins for which it may stay a dead letter in the end (a shape nobody
    takes, a doubt that only a person can resolve). On `ok`: `ref`, Dovetail's own id of the message.

    An id is accepted once: a client that repeats itself at a flow without `dedupe` takes a new id.
    """

    kind = "send"
    op: Literal["invoke", "ok", "fail", "info"]
    id: str
    flow: str = ""
    hash: str = ""
    wants: Sequence[Want] = ()
    may: Sequence[Want] = ()
    stands: str = ""
    ref: str = ""


@dataclass(slots=True)
class Call(Event):
    """A call arrived at a target: for message `id` (its part `part`) under effect key `key`, sent by `flow` in `lane`
    (empty if the flow promises no order). `parks`: a message of that flow that is refused holds back its lane."""

    kind = "call"
    target: str
    id: str
    key: str
    part: str = ""
    flow: str = ""
    lane: str = ""
    parks: bool = False


@dataclass(slots=True)
class Answer(Event):
    """A target has answered the call under `key`: `done`, `rejected` (4xx), `failed` (nothing was done), or `lost` (the
    caller cannot know: the answer never reached it)."""

    kind = "answer"
    target: str
    key: str
    word: Literal["done", "rejected", "failed", "lost"]


@dataclass(slots=True)
class Effect(Event):
    """A target did something. `once`: it does it once for a key, or must not be asked twice, so that a second effect of
    the same message and part is a breach; without, a repeat is one only if the first answer was heard."""

    kind = "effect"
    target: str
    id: str
    key: str
    hash: str
    part: str = ""
    once: bool = True


@dataclass(slots=True)
class Fault(Event):
    """A fault of `dovetail.testkit.cells.FAULTS` was injected, here and now."""

    kind = "fault"
    name: str
    text: str = ""


@dataclass(slots=True)
class Crash(Event):
    """The process died: answers that it heard may have been forgotten."""

    kind = "crash"


@dataclass(slots=True)
class Restored(Event):
    """A backup was put in the place of the store: what came after it is not known any more, and begins again."""

    kind = "restored"


@dataclass(slots=True)
class Redrive(Event):
    """An operator took up the dead letter `ref` of `flow`. `last`: everything that stood in its way is mended."""

    kind = "redrive"
    op: Literal["invoke", "ok", "fail"]
    flow: str
    ref: str
    last: bool = False
    text: str = ""


@dataclass(slots=True)
class Drained(Event):
    """Everything had the time to end. `whole`: nothing stood in the way, so nothing may be pending any more."""

    kind = "drained"
    whole: bool = True


@dataclass(slots=True)
class Seen(Event):
    """One message as the operator's desk shows it after `Drained`: `state` in its words (fresh, waiting, …, dead),
    `ref` the desk's id, `id` the client's (read from the body), `place` its number in the order of acceptance."""

    kind = "seen"
    flow: str
    ref: str
    state: str
    id: str = ""
    part: str = ""
    reason: str = ""
    place: int = 0


@dataclass(slots=True)
class Count(Event):
    """The desk's numbers of one flow after `Drained`."""

    kind = "count"
    flow: str
    accepted: int
    pending: int
    done: int
    discarded: int
    dead: int


@dataclass(slots=True)
class Audited(Event):
    """One event of the audit, in its order: `accepted`, `redriven`, or a state's word."""

    kind = "audited"
    flow: str
    ref: str
    word: str


@dataclass(slots=True)
class Memory(Event):
    """Something that is bounded was measured: bytes, messages, whatever `what` says."""

    kind = "memory"
    what: str
    value: float
    bound: float


KINDS: dict[str, type[Event]] = {
    one.kind: one
    for one in (Send, Call, Answer, Effect, Fault, Crash, Restored, Redrive, Drained, Seen, Count, Audited, Memory)
}


def to_line(event: Event) -> bytes:
    """One line of JSON, newline included; fields that say nothing are left out."""
    told = {one.name: getattr(event, one.name) for one in fields(event) if getattr(event, one.name) != one.default}
    return json.dumps({"kind": event.kind, **told}, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Event:
    """The event of a line. Raises ValueError for one that is none."""
    try:
        plain: dict[str, Any] = json.loads(line)
        return KINDS[plain.pop("kind")](**plain)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an event: {line[:200]!r} ({error!r})") from error


class Recorder:
    """Appends events to a file, one write a line, so that a process that is killed loses none that it has added."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def add(self, event: Event) -> None:
        """Append one event."""
        os.write(self._file, to_line(event))

    def close(self) -> None:
        """No more."""
        os.close(self._file)


def read(paths: Iterable[Path]) -> list[Event]:
    """The events of several files, by their times; within a file they stay in order. A torn last line is left out."""
    found: list[tuple[float, Event]] = []
    for path in paths:
        latest = 0.0
        for event in _events(path):
            latest = max(latest, event.at)
            found.append((latest, event))
    found.sort(key=lambda pair: pair[0])
    return [event for _, event in found]


def _events(path: Path) -> Iterator[Event]:
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield from_line(line)
