"""Waiting messages of older versions: which can go on on another one, and how they are taken along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dovetail.control.answers import WaitingLine
from dovetail.control.hand import FlowPlace
from dovetail.engine.definition import FlowDefinition
from dovetail.engine.journey import effect_key
from dovetail.engine.memo import Effect, Memo, message_id, pack, unpack, unpack_meta
from dovetail.errors import DovetailError
from dovetail.sdk import Step
from dovetail.store.base import PENDING, Progress, Query, Row, State

if TYPE_CHECKING:
    from dovetail.control.desk import Control

LOOKED = 20_000  # waiting messages of a flow that a plan looks at
PAGE = 500
MOVES, MAPPING, FINISHES = "moves", "mapping", "finishes"


class Fate(NamedTuple):
    """What a deploy means for one message."""

    version: int
    word: str
    why: str = ""


class Move:
    """Judges and moves the messages of one flow. `steps`: old step id → the one that stands for it in the version that
    they go to."""

    def __init__(self, control: Control, wanted: FlowDefinition, steps: Mapping[str, str]) -> None:
        self._control, self._wanted, self._steps = control, wanted, steps
        self._number = wanted.current.number
        self._top = {step.id for step in wanted.current.steps}
        self._places = places_of(wanted.current.steps)
        self._before: dict[int, dict[str, tuple[str, ...]]] = {}
        self._splits: dict[tuple[int, int], str | None] = {}

    def fate(self, row: Row, progress: Progress | None) -> Fate | None:
        """What becomes of a waiting message; None for one that is on the right version already."""
        memo = unpack(progress.memo) if progress is not None else Memo()
        version = memo.version or row.version
        if version in (0, self._number):
            return None
        if row.seq in self._control.hand.in_memory(self._wanted.name):
            return Fate(version, FINISHES, "it is being worked on")
        if memo.undoing is not None:
            return Fate(version, FINISHES, "what was done for it is being undone")
        if progress is not None and progress.state is State.SPLIT:
            return Fate(version, FINISHES, "its parts are on their way")
        if row.start and self._split(row) not in self._top:
            return Fate(version, FINISHES, f"it is a part made by step {self._split(row)}, which is gone")
        return self._by_effects(row, memo, version)

    def _split(self, row: Row) -> str | None:
        """The step behind which a part begins, None when its version cannot be loaded."""
        place = row.version, row.start
        if place not in self._splits:
            try:
                self._splits[place] = self._wanted.load(row.version).steps[row.start - 1].id
            except DovetailError:
                self._splits[place] = None
        return self._splits[place]

    def _by_effects(self, row: Row, memo: Memo, version: int) -> Fate:
        made = [effect for effect in memo.effects.values() if not undone(effect)]
        gone = [effect for effect in made if effect.step not in self._places]
        for effect in made:
            if effect.step in self._places and self._elsewhere(effect, version):
                return Fate(version, FINISHES, f"step {effect.step} stands elsewhere: its call would be another one")
        for effect in gone:
            if effect.state != "done":
                return Fate(version, FINISHES, f"step {effect.step} is gone, and its call is {effect.state}")
            if effect.step in self._steps and self._key(row, effect.step) not in memo.effects:
                return Fate(version, FINISHES, f"step {effect.step} stands within another one: it cannot be mapped")
        unmapped = sorted({effect.step for effect in gone} - self._steps.keys())
        if unmapped:
            return Fate(version, MAPPING, f"done, and gone in the new version: {', '.join(unmapped)}")
        return Fate(version, MOVES, "not begun" if not memo.effects and not memo.history else "")

    def _elsewhere(self, effect: Effect, version: int) -> bool:
        """Whether the effect's step stands within other steps than before, so that its effects have other names."""
        place = self._places[effect.step]
        if not effect.branch:
            return bool(place)
        if version not in self._before:
            try:
                self._before[version] = places_of(self._wanted.load(version).steps)
            except DovetailError:
                self._before[version] = {}
        return self._before[version].get(effect.step) != place

    def _key(self, row: Row, step: str) -> str:
        origin = unpack_meta(row.meta).origin or message_id(self._control.store.uid, row.seq)
        return effect_key(self._wanted.name, origin, step, "")

    def moved(self, row: Row, progress: Progress | None) -> Progress | None:
        """The row of a message that can go on on the new version, saying so; None for any other."""
        fate = self.fate(row, progress)
        if progress is None or fate is None or fate.word != MOVES:
            return None
        memo = unpack(progress.memo)
        memo.version = self._number
        for old, new in self._steps.items():
            effect = memo.effects.pop(self._key(row, old), None)
            if effect is not None:
                effect.step = new
                memo.effects[self._key(row, new)] = effect
        progress.memo = pack(memo)
        return progress


def undone(effect: Effect) -> bool:
    """Whether the effect is history: it was undone, or it undid another one."""
    return effect.state == "compensated" or effect.step.endswith("/compensate")


class Tally:
    """Fates, counted."""

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._lines: dict[Fate, WaitingLine] = {}

    def add(self, row: Row, fate: Fate | None) -> None:
        """Count one message."""
        if fate is not None:
            line = self._lines.get(fate)
            if line is None:
                line = self._lines[fate] = WaitingLine(fate.version, fate.word, 0, fate.why)
                line.example = message_id(self._uid, row.seq)
            line.count += 1

    def lines(self) -> list[WaitingLine]:
        """By version, those that move first."""
        order = (MOVES, MAPPING, FINISHES)
        return sorted(self._lines.values(), key=lambda line: (line.version, order.index(line.fate), line.why))


def places_of(steps: Sequence[Step], within: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """The ids of steps and of all that is nested in them, each with the steps and the chains that it stands in."""
    found: dict[str, tuple[str, ...]] = {}
    for step in steps:
        found[step.id] = within
        for number, chain in enumerate(step.chains):
            found |= places_of(getattr(chain, "steps", []), (*within, step.id, str(number)))
    return found


def waiting(control: Control, place: FlowPlace, before: int = 0) -> tuple[list[tuple[Row, Progress | None]], int]:
    """One page of a flow's messages that have not ended, and where the next one begins (0: nowhere)."""
    query = Query(flow=place.number, stream=place.stream, states=PENDING, before=before, limit=PAGE)
    return control.store.progress.find(query)
