"""How long a pattern may take on Python's engine, which goes back and tries other ways."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

#: longest text that a pattern on Python's engine may search
SHORT = 5000
#: steps that one search may take for each second of the limit
STEPS = 25_000_000
#: a bounded repeat may go as far, and a search may be cubic
REPEATS = 50
CUBIC = 3


class Ways(NamedTuple):
    """A search takes at most `product` times the text's length to the `power` steps."""

    power: int
    product: int

    def longest(self, seconds: float) -> int:
        """The longest text that may be searched with so much time."""
        return min(SHORT, int((STEPS * seconds / self.product) ** (1 / max(self.power, 1))))


def ways(pattern: str, multiline: bool) -> Ways | None:
    """How a pattern in Python's notation backtracks; None if repeats are nested or there are too many ways."""
    constants, parser = importlib.import_module("re._constants"), importlib.import_module("re._parser")
    items = parser.parse(pattern)
    walk = Walk(constants)
    walk.sequence(items, False)
    starts = [argument for operator, argument in items[:1] if operator is constants.AT]
    fixed = constants.AT_BEGINNING_STRING in starts or (constants.AT_BEGINNING in starts and not multiline)
    power = walk.most.power + (not fixed)
    if walk.nested or power > CUBIC or walk.most.product > STEPS >> 10:
        return None
    return Ways(power, walk.most.product)


class Walk:
    """Counts unbounded repeats, and what bounded ones and branches multiply to."""

    def __init__(self, constants: Any) -> None:
        self.constants = constants
        self.nested = False
        self.here = self.most = Ways(0, 1)

    def sequence(self, items: Any, inside: bool) -> None:
        c = self.constants
        for operator, argument in items:
            if operator in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
                self.repeat(argument, inside)
            elif operator is c.SUBPATTERN:
                self.sequence(argument[3], inside)
            elif operator is c.ATOMIC_GROUP:
                self.sequence(argument, inside)
            elif operator is c.BRANCH:
                self.branches(argument[1], inside)
            elif operator is c.GROUPREF_EXISTS:
                self.branches([one for one in argument[1:] if one is not None], inside)
            elif operator is c.GROUPREF:
                self.more(1, 1)  # compares as many characters as the group holds
            elif operator in (c.ASSERT, c.ASSERT_NOT):
                before = self.here
                self.sequence(argument[1], inside)
                self.here = before  # nothing goes back into a look-around that is done

    def repeat(self, bounds: tuple[int, Any, Any], inside: bool) -> None:
        low, high, body = bounds
        unbounded = high is self.constants.MAXREPEAT
        self.nested |= inside or (not unbounded and high > REPEATS)
        if unbounded:
            self.more(1, 1)
        else:
            self.more(0, high - low + 1)
        self.sequence(body, True)

    def branches(self, branches: list[Any], inside: bool) -> None:
        self.nested |= inside
        before, ends = self.here, []
        for one in branches:
            self.here = before
            self.sequence(one, inside)
            ends.append(self.here)
        self.here = Ways(max(end.power for end in ends), sum(end.product for end in ends))
        self.more(0, 1)

    def more(self, power: int, product: int) -> None:
        self.here = Ways(self.here.power + power, self.here.product * product)
        self.most = Ways(max(self.most.power, self.here.power), max(self.most.product, self.here.product))
