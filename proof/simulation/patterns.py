"""The families whose messages do not just go through: groups, events, sagas, scattered questions, parked lanes.

What no single effect can show is judged from the whole history: see `judged`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from dovetail.testkit.history import Effect, Event, Seen
from proof.simulation.families import MAP, Content, Draft, Family, each, mapped
from proof.simulation.outside import fingerprint

BRANCHES = ("a", "b")
Found = Iterator[tuple[str, str]]


def _bundled(value: Mapping[str, Any], version: int) -> list[Content]:
    return [("sys.create", "bundle", {"k": value["k"], "n": value["n"]})]


def _paid(value: Mapping[str, Any], version: int) -> list[Content]:
    whole = mapped(value, version)
    return [("sys.create", "", {**whole, "paid": value["n"]}), ("till.put", "", whole), ("ear.create", "", whole)]


def _agree(dice: random.Random, value: dict[str, Any]) -> None:
    """Some are refused in the end; of some nobody ever hears that they have begun."""
    value["never"] = dice.choice(("join", "join", "heard", "", "", ""))


def _trip(value: Mapping[str, Any], version: int) -> list[Content]:
    whole = mapped(value, version, never=value["never"])
    back = {"id": value["id"], "k": value["k"], "n": value["n"]}
    forward = [(f"sys.{name}", "", whole) for name in ("create", "ask", "join", "put")]
    return [*forward, *(("back.undo", part, {**back, "part": part}) for part in ("create", "ask"))]


def _answers() -> list[list[str]]:
    return [list(some) for n in (1, 2) for some in combinations(BRANCHES, n)]


def _quoted(value: Mapping[str, Any], version: int) -> list[Content]:
    whole = mapped(value, version)
    return [(target, "", {**whole, "got": got}) for got in _answers() for target in ("sys.put", "ear.put")]


def _undo(part: str) -> str:
    body = f'{{"id": id, "part": "{part}", "k": k, "n": n}}'
    return f"  compensate: {{operation: trips-back.undo, body: '{body}'}}\n"


def parked(name: str, poison: str) -> Family:
    """A dead letter holds the later messages of its key back."""
    text = "{head}steps:\n- " + MAP + f"\n- call: {name}-sys.create\n- call: {name}-sys.put\n{{failure}}"
    return Family(name, {name: text}, each("sys.create", "sys.put"), hows=("reject", "reject", "kill"), poison=poison)


PATTERNS = (
    Family(
        "bundles",
        {"bundles": "{head}steps:\n- aggregate: k\n  count: 3\n  within: 2s\n  take: '{\"id\": id, \"n\": n}'\n"
                    "  into: '{\"ids\": [id], \"ns\": [n], \"k\": $vars.group.key}'\n- call: bundles-sys.create\n"
                    "{failure}"},
        _bundled, ordered=False,
    ),
    Family(
        "paying",
        {
            "paying": "{head}steps:\n- " + MAP + "\n- publish: owed\n- wait: paid\n  key: id\n  timeout: 40s\n"
                      "  as: event\n- map: '$merge([$, {\"paid\": $vars.event.n}])'\n- call: paying-sys.create\n"
                      "{failure}",
            "payer": "source: {topic: {name: owed, from: earliest}}\nkey: k\nsteps:\n- call: paying-till.put\n"
                     "- signal: paid\n  key: id\n  value: '{\"n\": n}'\n- call: paying-ear.create\n{failure}",
        },
        _paid, uses=("sys", "till", "ear"),
    ),
    Family(
        "trips",
        {"trips": "{head}steps:\n- map: '{\"id\": id, \"k\": k, \"n\": n, \"how\": how, \"never\": never{v2}}'\n"
                  "- call: trips-sys.create\n" + _undo("create") + "- call: trips-sys.ask\n" + _undo("ask")
                  + "- call: trips-sys.join\n  pivot: true\n- call: trips-sys.put\n{failure}"},
        lambda value, version: (), may=_trip, make=_agree, uses=("sys", "back"), compensate=True,
    ),
    Family(
        "quotes",
        {"quotes": "{head}steps:\n- " + MAP + "\n- scatter_gather:\n"
                   "    a: {steps: [{call: quotes-sys.ask}], result: '1'}\n"
                   "    b: {steps: [{call: quotes-sys.create}], result: '1'}\n"
                   "  need: 1\n  as: got\n  merge: '$merge([$, {\"got\": [$keys($vars.got.answers)]}])'\n"
                   "- call: quotes-sys.put\n- call: quotes-ear.put\n{failure}"},
        _quoted, may=each("sys.ask", "sys.create"), uses=("sys", "ear"),
    ),
    parked("parks", "park_key"),
    parked("blocks", "block"),
)  # fmt: skip


# --- what the whole history shows -------------------------------------------------------------------------------------


def judged(families: Sequence[Family], sends: Mapping[str, Draft], events: Sequence[Event]) -> Found:
    """(invariant, what) of everything wrong with sagas and decisions."""
    names = {family.name for family in families}
    done: defaultdict[str, list[Effect]] = defaultdict(list)
    for event in events:
        if isinstance(event, Effect):
            done[event.id].append(event)
    if "trips" in names:
        for event in events:
            if isinstance(event, Seen) and event.flow == "trips" and event.state in ("done", "discarded"):
                for text in _one_way(event, [(one.target, one.part) for one in done[event.id]]):
                    yield "accounted", f"{event.id}, which is {event.state}: {text}"
    if "quotes" in names:
        for id, effects in done.items():
            if id in sends and sends[id].family.name == "quotes":
                yield from _one_decision(sends[id], effects)


def _one_way(seen: Seen, done: list[tuple[str, str]]) -> Iterator[str]:
    """A trip took place as a whole, or what took place of it was undone, the last first."""
    forward = [name for name in ("create", "ask", "join", "put") if (f"trips-sys.{name}", "") in done]
    undone = [part for target, part in done if target == "trips-back.undo"]
    if seen.state == "done":
        if undone or len(forward) < 4:
            yield f"only {forward} took place, and {undone} was undone"
    elif "join" in forward:
        yield "it was given up behind its pivot"
    else:
        if missing := [name for name in forward if name not in undone]:
            yield f"{missing} was never undone"
        if undone == ["create", "ask"]:
            yield "it was undone in the order in which it was done"


def _one_decision(draft: Draft, effects: Sequence[Effect]) -> Found:
    """Whatever was left out is left out for all that comes behind."""
    meaning = {
        fingerprint({**mapped(draft.value, version), "got": got}): "+".join(got)
        for version in (1, 2) for got in _answers()
    }  # fmt: skip
    heard = {meaning[one.hash] for one in effects if one.hash in meaning}
    if len(heard) > 1:
        yield "accounted", f"{draft.id}: its decision was {' and then '.join(sorted(heard))}"


def kept_together(drafts: Mapping[str, tuple[int, Draft]], events: Sequence[Event]) -> Found:
    """While a canary takes a share, one key's messages all meet the same version. `drafts`: those that came in under a
    canary, by id, with its number."""
    met: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
    for event in events:
        if isinstance(event, Effect) and event.id in drafts:
            number, draft = drafts[event.id]
            of = [version for version in (1, 2) if event.hash in _hashes(draft, version, event)]
            if len(of) == 1:
                met[number, draft.value["k"]] |= set(of)
    for (number, key), versions in met.items():
        if len(versions) > 1:
            yield "order", f"under canary {number} messages of {key} met both versions"


def _hashes(draft: Draft, version: int, effect: Effect) -> set[str]:
    told = [*draft.wants((version,)), *draft.wants((version,), optional=True)]
    return {hash for target, part, hashes in told if (target, part) == (effect.target, effect.part) for hash in hashes}
