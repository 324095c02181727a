"""A flow's mapping expressions: what they may name, and how they see a message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from dovetail.clock import seeded
from dovetail.errors import Rejected
from dovetail.mapping import Expression, Limits, MappingError, Name, builtin_names, names
from dovetail.mapping import compile as compile_mapping
from dovetail.project.functions import FUNCTIONS
from dovetail.project.tables import Rows
from dovetail.sdk import UNDEFINED, Codec, Codecs, Message
from dovetail.spec import Location, Problem, nearest

LIMITS: Final = Limits(evaluate=False)  # in a project no text becomes code
BINDINGS: Final = frozenset(("headers", "vars", "message"))
TABLES: Final = frozenset(("table", "xref"))
FORMATS: Final = frozenset(("parse", "format"))
WORLDLY: Final = TABLES | FORMATS | {"now", "millis", "random", "shuffle", "uuid", "toMillis"}
_KEPT: Final = 1024  # texts whose compiled form is at hand: each is met by check, by build, and by every version
_EVAL: Final = "$eval is switched off in a project: no text of a message becomes code"


@lru_cache(_KEPT)
def compiled(text: str) -> Expression:
    """A text without functions of the project's own, compiled once. Raises MappingError."""
    return compile_mapping(text, limits=LIMITS)


@lru_cache(_KEPT)
def names_in(text: str) -> tuple[Name, ...]:
    """As `dovetail.mapping.names`, once a text. Raises MappingError."""
    return tuple(names(text))


@dataclass(frozen=True, slots=True)
class Words:
    """What the expressions may name beside the language's own: tables (with their files), functions, formats."""

    tables: Mapping[str, str]
    functions: Mapping[str, int | None]  # the project's own, with the most arguments one takes (None: any number)
    formats: frozenset[str]

    def files(self, text: str) -> set[str]:
        """The files that an expression needs. Raises MappingError."""
        found: set[str] = set()
        for one in names_in(text):
            if one.name in self.functions:
                found.add(FUNCTIONS)
            elif one.name in TABLES:
                name = one.arguments[0] if one.arguments else None  # None: known only when it runs
                found |= {file for table, file in self.tables.items() if name in (None, table)}
        return found

    def problems(self, text: str, at: Callable[[int, int], Location]) -> list[Problem]:
        """Names that nobody knows. `at`: from line and column of the text to the place in the file."""
        found: list[Problem] = []
        known = {*builtin_names(), *self.functions}
        for one in names_in(text):
            place, called = at(one.line, one.column), one.arguments is not None
            if one.name == "eval":
                found.append(Problem(*place, _EVAL, "write the expression out", "mapping-D4001"))
            elif one.name not in known and called:
                message = f"there is no function ${one.name}"
                hint = _near(one.name, known) or f"define it in {FUNCTIONS}"
                found.append(Problem(*place, message, hint, "unknown-function"))
            elif one.name not in known and one.name not in BINDINGS:
                message = f"nothing sets the variable ${one.name}"
                hint = _near(one.name, known | BINDINGS)
                found.append(Problem(*place, message, hint, "unknown-variable", level="warning"))
            elif called and one.arguments:
                if one.arguments[0] is not None:
                    found += self._literal(one.name, one.arguments[0], place)
                found += self._too_many(one.name, len(one.arguments), place)
        return found

    def _too_many(self, function: str, given: int, place: Location) -> list[Problem]:
        most = self.functions.get(function)
        if most is None or given <= most:
            return []
        takes = f"{most} argument{'' if most == 1 else 's'} at most" if most else "no arguments"
        return [Problem(*place, f"${function} takes {takes}, and is given {given}", f"see {FUNCTIONS}", "arguments")]

    def _literal(self, function: str, name: str, place: Location) -> list[Problem]:
        if function in TABLES and name not in self.tables:
            hint = nearest(name, self.tables) or f"add tables/{name}.csv"
            return [Problem(*place, f"there is no table '{name}'", hint, "unknown-table")]
        if function in FORMATS and name not in self.formats:
            return [Problem(*place, f"there is no format '{name}'", nearest(name, self.formats), "unknown-format")]
        return []


def _near(name: str, known: set[str] | frozenset[str]) -> str:
    hint = nearest(name, known)
    return hint.replace("'", "'$", 1) if hint.startswith("did you mean") else ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """What all expressions of a project share."""

    tables: Mapping[str, Rows]
    codecs: Codecs


class BoundExpression:
    """A mapping expression evaluated against messages, with what it may see beside the body.

    `name` is how errors speak of it; `place` is its stable place within its flow. Raises MappingError.
    """

    def __init__(
        self, text: str, name: str, place: str, shelf: Shelf, functions: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.text = text
        used = names_in(text)
        outside = {one.name for one in used}
        own = functions() if outside - builtin_names() - BINDINGS else {}
        self._expression = compile_mapping(text, functions=own, limits=LIMITS) if own else compiled(text)
        self._name, self._place, self._shelf = name, place, shelf
        self._bound = not outside.isdisjoint(BINDINGS)
        self._worldly = any(map(worldly, used))
        self._bare = not (self._bound or self._worldly)  # it looks at nothing but the body

    def evaluate(self, message: Message) -> Any:
        """The value, or `UNDEFINED`. Raises `Rejected` with the place in the mapping."""
        try:
            value = message.value
            if self._bare:
                return self._expression.evaluate(value)
            world = World(message, self._place, self._shelf) if self._worldly else None
            return self._expression.evaluate(value, bindings(message) if self._bound else None, environment=world)
        except MappingError as error:
            raise Rejected(
                f"{self._name}:{error.line}:{error.column}: {error.message}", code=f"mapping {error.code}",
                detail={"line": error.line, "column": error.column, "token": error.token},
            ) from error  # fmt: skip

    def test(self, message: Message) -> bool:
        """The value as a condition: the language's `$boolean`."""
        value = self.evaluate(message)
        if value is True or value is False:
            return bool(value)
        return truth(value)


def worldly(use: Name) -> bool:
    """Whether a function may ask for more than its arguments. `$toMillis` does with a picture alone: parts that are
    missing are today's."""
    if use.name == "toMillis" and use.arguments is not None and len(use.arguments) < 2:
        return False
    return use.name in WORLDLY


class World:
    """What a mapping sees beside the body: time, dice and ids of the message, so that a retry computes the same; the
    project's tables; formats."""

    __slots__ = ("_dice", "_shelf", "message_id", "now_ms", "place")

    def __init__(self, message: Message, place: str, shelf: Shelf) -> None:
        self.message_id, self.place = message.id, place
        self.now_ms = message.time_ms
        self._shelf = shelf
        self._dice: Any = None

    def random(self) -> float:
        """The next number in [0, 1); the numbers are the same for the same message and place."""
        if self._dice is None:
            self._dice = seeded(self.message_id, self.place)
        drawn: float = self._dice.random()
        return drawn

    def table(self, name: str) -> Rows | None:
        """A lookup table's rows."""
        return self._shelf.tables.get(name)

    def codec(self, name: str) -> Codec | None:
        """A format."""
        try:
            return self._shelf.codecs.by_name(name)
        except KeyError:
            return None


def bindings(message: Message) -> dict[str, Any]:
    """`$headers`, `$vars` and `$message`."""
    return {
        "headers": message.headers,
        "vars": message.variables,
        "message": {
            "id": message.id, "source": message.source, "type": message.type, "subject": message.subject,
            "time": message.time_ms, "key": message.key, "parent": message.parent, "content_type": message.content_type,
        },
    }  # fmt: skip


def truth(value: Any) -> bool:
    """JSONata's idea of truth: empty, zero, null and nothing are false; an array is true if one of its members is."""
    if value is UNDEFINED or value is None:
        return False
    if isinstance(value, list):
        return any(truth(item) for item in value)
    return bool(value) and not callable(value)
