"""What changes between two sets of outgoing messages, path by path, and many such differences by their shape."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from dovetail.codec import built_in_codecs
from dovetail.control.answers import Alike, Change, DryRun, Outgoing
from dovetail.engine.rehearsal import Captured
from dovetail.errors import DovetailError

SHOWN = 2000  # characters of a value in a difference
_INDEX = re.compile(r"\[\d+\]")


def outgoing(sent: Captured) -> Outgoing:
    """One captured thing as an answer shows it; bytes that are no text become escapes."""
    args = {name: _text(value) for name, value in sent.args.items()}
    return Outgoing(sent.what, sent.step, sent.to, sent.key, args, sent.body.decode("utf-8", "backslashreplace"))


def differences(before: Sequence[Captured], after: Sequence[Captured]) -> list[Change]:
    """From what was (or would have been) sent to what would be sent now, matched by effect key."""
    was, now = {each.key: each for each in before}, {each.key: each for each in after}
    changes: list[Change] = []
    for key in {**was, **now}:
        old, new = was.get(key), now.get(key)
        name = f"{(new or old).step} → {(new or old).to}"  # type: ignore[union-attr]  # one of them is there
        if old is None or new is None:
            word = "added" if old is None else "removed"
            changes.append(Change(word, name, "" if old is None else _body(old), "" if new is None else _body(new)))
            continue
        if (old.what, old.to) != (new.what, new.to):
            changes.append(Change("changed", f"{name}: to", f"{old.what} {old.to}", f"{new.what} {new.to}"))
        changes += _walk(f"{name}: args", old.args, new.args)
        changes += _walk(f"{name}: body", _value(old), _value(new))
    return changes


def _value(sent: Captured) -> Any:
    """The body as data where it can be read; its text otherwise."""
    try:
        return sent.codec.decode(sent.body)
    except DovetailError:
        return sent.body.decode("utf-8", "backslashreplace")


def _body(sent: Captured) -> str:
    return sent.body.decode("utf-8", "backslashreplace")[:SHOWN]


def _walk(path: str, was: Any, now: Any) -> Iterator[Change]:
    if isinstance(was, dict) and isinstance(now, dict):
        for name in {**was, **now}:
            yield from _member(f"{path}.{name}", name in was, name in now, was.get(name), now.get(name))
    elif isinstance(was, list) and isinstance(now, list):
        for n in range(max(len(was), len(now))):
            old, new = was[n : n + 1], now[n : n + 1]
            yield from _member(f"{path}[{n}]", bool(old), bool(new), *(old or [None]), *(new or [None]))
    elif type(was) is not type(now) or was != now:
        yield Change("changed", path, _text(was), _text(now))


def _member(path: str, there: bool, here: bool, was: Any, now: Any) -> Iterator[Change]:
    if there and here:
        yield from _walk(path, was, now)
    elif there:
        yield Change("removed", path, _text(was), "")
    else:
        yield Change("added", path, "", _text(now))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")[:SHOWN]
    try:
        return built_in_codecs().by_name("json").encode(value).decode()[:SHOWN]
    except (DovetailError, TypeError, ValueError):
        return str(value)[:SHOWN]


def alike(runs: Sequence[DryRun]) -> list[Alike]:
    """Dry runs with the same shape of difference and the same end together, the largest group first."""
    groups: dict[tuple[object, ...], Alike] = {}
    for run in runs:
        shape = sorted({f"{change.kind} {_INDEX.sub('[]', change.path)}" for change in run.changes})
        reason = f"{run.step}: {run.code}" if run.ends == "failed" else ""
        group = groups.setdefault(
            (run.flow, run.before, run.version, run.ends, reason, *sorted(run.assumed), "", *shape),
            Alike(run.flow, run.before, run.version, run.ends, reason, shape, 0, run.id, run.why, run.assumed),
        )
        group.count += 1
    return sorted(groups.values(), key=lambda group: -group.count)
