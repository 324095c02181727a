"""A flow's word on how urgent its messages are: `urgent`, `normal`, `background`, or an expression that gives one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from dovetail.engine.priority import NORMAL, WORDS
from dovetail.errors import Rejected
from dovetail.mapping import literals
from dovetail.sdk import Expression, Message
from dovetail.spec import Location, Problem, nearest

NUMBERS: Final = {word: number for number, word in enumerate(WORDS, 1)}  # as the journal has them
_WORD: Final = re.compile(r"[A-Za-z_][\w-]*")
_ALL: Final = "urgent, normal or background"


def problems(text: str, at: Callable[[int, int], Location]) -> list[Problem]:
    """What is wrong with it: a single word that is none of the three, an expression that chooses another text.
    `at`: from line and column of the text to the place in the file. Raises MappingError."""
    if _WORD.fullmatch(text):
        if text in NUMBERS:
            return []
        hint = nearest(text, NUMBERS)
        if not hint.startswith("did you mean"):
            hint = f"write {_ALL}, or $.{text} for a field of that name"
        return [Problem(*at(1, 1), f"'{text}' is no priority", hint, "priority")]
    return [
        Problem(*at(one.line, one.column), f"'{one.text}' is no priority", nearest(one.text, NUMBERS), "priority")
        for one in literals(text)
        if one.text not in NUMBERS
    ]


def is_word(text: str) -> bool:
    """Whether it says the same for all messages."""
    return text in NUMBERS


def priority_of(text: str, compiled: Callable[[str], Expression]) -> Callable[[Message], int]:
    """The journal's number for a message. What gives none of the three words, or fails, is normal: no message is turned
    away for it."""
    if is_word(text):
        number = NUMBERS[text]
        return lambda message: number
    expression = compiled(text)

    def evaluated(message: Message) -> int:
        try:
            found = expression.evaluate(message)
        except Rejected:
            return NORMAL
        return NUMBERS.get(found, NORMAL) if isinstance(found, str) else NORMAL

    return evaluated
