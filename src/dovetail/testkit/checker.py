"""Judges a history: every invariant of `dovetail.testkit.cells`, from what clients, targets and operators saw."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dovetail.testkit.cells import INVARIANTS
from dovetail.testkit.history import (
    Answer,
    Audited,
    Call,
    Count,
    Crash,
    Drained,
    Effect,
    Event,
    Fault,
    Memory,
    Redrive,
    Restored,
    Seen,
    Send,
)

ENDED = ("done", "discarded", "dead")


@dataclass(slots=True)
class Report:
    """`breaches`: (invariant, what). `checked`: how many things each invariant was held against. `faults`: how often
    each was injected before the last `Drained`."""

    breaches: list[tuple[str, str]] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def cells(self) -> list[tuple[str, str]]:
        """The cells that this history ran: the fault was injected, and the invariant was checked on something after."""
        return [(fault, invariant) for fault in self.faults for invariant in INVARIANTS if self.checked[invariant]]


def check(events: Iterable[Event]) -> Report:
    """The report on a history, which may stop anywhere; what needs the end is checked only if there is a `Drained`."""
    history = list(events)
    facts = Facts(history)
    report = Report()
    rules = [once, order, faithful, bounded]
    if facts.drained is not None:
        rules += [accounted, redrivable, audited]
        last = max(n for n, event in enumerate(history) if isinstance(event, Drained))
        report.faults = Counter(event.name for event in history[:last] if isinstance(event, Fault))
    for rule in rules:
        for breach in rule(facts, report.checked):
            report.breaches.append((rule.__name__, breach))
    return report


class Facts:
    """A history, indexed. A message is (id, part); what a desk knows of it is `seen[flow, ref]`."""

    def __init__(self, history: Sequence[Event]) -> None:
        self.history = history
        self.sends: dict[str, Send] = {}  # the first invoke of each id
        self.told: defaultdict[str, set[str]] = defaultdict(set)  # id → ok, fail, info
        self.refs: dict[tuple[str, str], str] = {}  # (flow, ref) that a client was told → id
        self.seen: dict[tuple[str, str], Seen] = {}
        self.of: defaultdict[str, list[Seen]] = defaultdict(list)  # id → what the desk shows
        self.effects: defaultdict[tuple[str, str, str], list[Effect]] = defaultdict(list)  # target, id, part
        self.redrives: list[Redrive] = []
        self.audit: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.counts: list[Count] = []
        self.drained: Drained | None = None
        for event in history:
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case Send(op="invoke"):
                self.sends.setdefault(event.id, event)
            case Send():
                self.told[event.id].add(event.op)
                if event.ref:
                    self.refs[event.flow, event.ref] = event.id
            case Effect():
                self.effects[event.target, event.id, event.part].append(event)
            case Seen():
                self.seen[event.flow, event.ref] = event
                self.of[event.id].append(event)
            case Redrive():
                self.redrives.append(event)
            case Audited():
                self.audit[event.flow, event.ref].append(event.word)
            case Count():
                self.counts.append(event)
            case Drained():
                self.drained = event

    def known_by_id(self) -> bool:
        """Whether the desk's list says which message of a client each line is."""
        return any(self.of)

    def wants(self, id: str, also: bool = False) -> dict[tuple[str, str], Sequence[str]]:
        """(target, part) → acceptable hashes of what a message must (with `also`: or may) cause."""
        send = self.sends[id]
        named = [*send.wants, *send.may] if also else send.wants
        return {(target, part): hashes for target, part, hashes in named}


# --- the invariants ---------------------------------------------------------------------------------------------------


def accounted(facts: Facts, checked: Counter[str]) -> Iterator[str]:
    """Every accepted message is somewhere, none is pending when nothing stands in its way, and done is done."""
    for (flow, ref), id in facts.refs.items():
        checked["accounted"] += 1
        if (flow, ref) not in facts.seen:
            yield f"{flow}: {id} was accepted as {ref}, and nobody knows it"
    for id, words in facts.told.items():
        checked["accounted"] += "ok" in words
        if "ok" in words and facts.known_by_id() and id not in facts.of:
            yield f"{id} was accepted, and nobody knows it"
    for (flow, ref), seen in facts.seen.items():
        if facts.drained and facts.drained.whole and seen.state not in ENDED:
            yield f"{flow}: {seen.id or ref} is still {seen.state}, though nothing stands in its way"
    for id, found in facts.of.items():
        if id in facts.sends and all(seen.state in ("done", "discarded") for seen in found):
            checked["accounted"] += 1
            yield from _all_done(facts, id)
    yield from _balance(facts, checked)


def _all_done(facts: Facts, id: str) -> Iterator[str]:
    for target, part in facts.wants(id):
        if not facts.effects[target, id, part]:
            yield f"{id} is done, and {target} never did its {part or 'effect'}"


def _balance(facts: Facts, checked: Counter[str]) -> Iterator[str]:
    there = Counter((seen.flow, seen.state if seen.state in ENDED else "pending") for seen in facts.seen.values())
    for count in facts.counts:
        checked["accounted"] += 1
        for word in ("pending", *ENDED):
            told, real = getattr(count, word), there[count.flow, word]
            if told != real:
                yield f"{count.flow}: the desk counts {told} {word}, there are {real}"
        if count.accepted != count.pending + count.done + count.discarded + count.dead:
            yield f"{count.flow}: {count.accepted} accepted are not the sum of what became of them ({count})"


def once(facts: Facts, checked: Counter[str]) -> Iterator[str]:
    """One effect each, under one key; nothing heard is asked for again, nothing refused is tried again by itself."""
    for (target, id, part), effects in facts.effects.items():
        strict = [effect for effect in effects if effect.once]
        checked["once"] += len(strict)
        if len(strict) > 1:
            yield f"{target} did {part or 'the effect'} of {id} {len(strict)} times"
    for id, found in facts.of.items():
        several = Counter((seen.flow, seen.part) for seen in found if seen.id)
        for (flow, part), n in several.items():
            if n > 1 and id in facts.sends:
                yield f"{flow}: {id} {part} became {n} messages"
    yield from _calls(facts, checked)


def _calls(facts: Facts, checked: Counter[str]) -> Iterator[str]:
    keys: dict[tuple[str, str, str], str] = {}
    heard: dict[tuple[str, str], str] = {}
    ids: dict[tuple[str, str], str] = {}  # (target, key) → the message that it was called for
    taken: Counter[str] = Counter()  # orders to take up a message that nobody knows the end of
    for event in facts.history:
        match event:
            case Crash():
                heard.clear()
            case Redrive():
                id = facts.seen[event.flow, event.ref].id if (event.flow, event.ref) in facts.seen else ""
                taken[id] += 1 if event.op == "invoke" else -1
                if event.op == "invoke":
                    heard = {call: word for call, word in heard.items() if word != "rejected"}
            case Answer(word="rejected") if taken[ids.get((event.target, event.key), "")] > 0:
                pass  # whoever ordered that it be taken up may have meant it with this refusal
            case Answer():
                heard[event.target, event.key] = event.word
            case Call():
                checked["once"] += 1
                ids[event.target, event.key] = event.id
                before = heard.get((event.target, event.key))
                if before in ("done", "rejected"):
                    yield f"{event.target} was called again for {event.id} {event.part}, though it had said {before}"
                if keys.setdefault((event.target, event.id, event.part), event.key) != event.key:
                    yield f"{event.target} was called for {event.id} {event.part} under two keys"


def order(facts: Facts, checked: Counter[str]) -> Iterator[str]:
    """Once a message of a lane has begun, no earlier one is called for, unless an operator took it up again, or the
    store is one from before it began."""
    places = {(seen.flow, seen.id, seen.part): seen.place for seen in facts.seen.values()}
    ids = {(seen.flow, seen.ref): (seen.id, seen.part) for seen in facts.seen.values()}
    front: dict[tuple[str, str], tuple[int, str]] = {}
    again: set[tuple[str, str, str]] = set()
    for event in facts.history:
        if isinstance(event, Redrive) and event.op == "invoke":
            again.add((event.flow, *ids.get((event.flow, event.ref), ("", ""))))
        if isinstance(event, Restored):
            front.clear()
        if not isinstance(event, Call) or not event.lane:
            continue
        message = (event.flow, event.id, event.part)
        place = places.get(message, 0)
        if not place or message in again:
            continue
        newest, who = front.get((event.flow, event.lane), (0, ""))
        if newest and newest != place:
            checked["order"] += 1
        if place < newest:
            yield f"{event.flow}: {event.target} was called for {event.id} {event.part} after {who} of its key began"
        else:
            front[event.flow, event.lane] = (place, f"{event.id} {event.part}".strip())
    yield from _parked(facts, checked, ids)


def _parked(facts: Facts, checked: Counter[str], ids: dict[tuple[str, str], tuple[str, str]]) -> Iterator[str]:
    """Behind a message that was refused, nobody of its lane is called for until somebody takes it up again."""
    calls: dict[tuple[str, str], Call] = {}
    held: dict[tuple[str, str], tuple[str, str]] = {}
    for event in facts.history:
        match event:
            case Answer(word="rejected") if call := calls.get((event.target, event.key)):
                held[call.flow, call.lane] = (call.id, call.part)
            case Redrive(op="invoke"):
                message = ids.get((event.flow, event.ref))
                held = {at: who for at, who in held.items() if at[0] != event.flow or who != message}
            case Call(parks=True) if event.lane:
                calls[event.target, event.key] = event
                who = held.pop((event.flow, event.lane), None)
                checked["order"] += who is not None
                if who is not None and who != (event.id, event.part):
                    yield f"{event.flow}: {event.target} was called for {event.id}, though {who[0]} was refused before"


def faithful(facts: Facts, checked: Counter[str]) -> Iterator[str]:
    """Every effect and every message comes from a message that somebody sent and that was not refused."""
    for (target, id, part), effects in facts.effects.items():
        checked["faithful"] += len(effects)
        if id not in facts.sends:
            yield f"{target} did {part or 'an effect'} of {id!r}, which nobody sent"
            continue
        if facts.told[id] == {"fail"}:
            yield f"{target} did {part or 'an effect'} of {id}, which was refused"
        wanted = facts.wants(id, also=True).get((target, part))
        if wanted is None:
            yield f"{target} did {part or 'an effect'} of {id}, which was not to be done"
            continue
        for effect in effects:
            if effect.hash not in wanted:
                yield f"{target} got {part or 'the effect'} of {id} altered ({effect.hash}, not {', '.join(wanted)})"
    for seen in facts.seen.values():
        if seen.id and seen.id not in facts.sends:
            yield f"{seen.flow}: {seen.id} ({seen.ref}) was never sent"
        elif seen.id and facts.told[seen.id] == {"fail"}:
            yield f"{seen.flow}: {seen.id} was refused, and is there as {seen.ref}"


def redrivable(facts: Facts, checked: Counter[str]) -> Iterator[str]:
    """Every dead letter could be taken up again; with everything mended, none is left that could be done."""
    mended = False
    for event in facts.redrives:
        mended |= event.last
        if event.op == "fail":
            yield f"{event.flow}: the dead letter {event.ref} could not be taken up: {event.text}"
        else:
            checked["redrivable"] += event.op == "ok"
    for seen in facts.seen.values():
        send = facts.sends.get(seen.id)
        stands = send is not None and send.stands and seen.reason.startswith(send.stands)
        if mended and seen.state == "dead" and send is not None and not stands:
            yield f"{seen.flow}: {seen.id} is dead again, though all was mended: {seen.reason}"


def audited(facts: Facts, checked: Counter[str]) -> Iterator[str]:
    """The audit tells of every acceptance, of every state up to the last, and of every redrive."""
    if not facts.audit:
        return
    for (flow, ref), seen in facts.seen.items():
        words = facts.audit[flow, ref]
        checked["audited"] += 1
        if "accepted" not in words:
            yield f"{flow}: the audit has no acceptance of {seen.id or ref}"
        states = [word for word in words if word not in ("accepted", "redriven")]
        if (states[-1] if states else "fresh") != seen.state:
            yield f"{flow}: {seen.id or ref} is {seen.state}, the audit's last word is {states[-1:] or 'nothing'}"
    redriven = Counter((event.flow, event.ref) for event in facts.redrives if event.op == "ok")
    for place, n in redriven.items():
        if facts.audit[place].count("redriven") < n:
            yield f"{place[0]}: {place[1]} was redriven {n} times, the audit tells less"


def bounded(facts: Facts, checked: Counter[str]) -> Iterator[str]:
    """Whatever is bounded stayed within its bound."""
    for event in facts.history:
        if isinstance(event, Memory):
            checked["bounded"] += 1
            if event.value > event.bound:
                yield f"{event.what}: {event.value:g}, and at most {event.bound:g} is allowed"
