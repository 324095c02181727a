"""The values an expression works on.

JSON values are Python's own: `None`, `bool`, `str`, `int` (any size), `float`, `Decimal`, `list` and `dict`. Beside
them there are `UNDEFINED` (nothing there), the three kinds of list that JSONata tells apart, and functions.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final


class Undefined:
    """The class of `UNDEFINED`: no value, as opposed to `None`, which is JSON's null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNDEFINED"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "UNDEFINED"

    def __copy__(self) -> Undefined:
        return self

    def __deepcopy__(self, memo: Any) -> Undefined:
        return self


UNDEFINED: Final = Undefined()


class Seq(list[Any]):
    """A sequence: what a path or a function collected. One item alone stands for itself, none for UNDEFINED."""

    __slots__ = ()


class Kept(Seq):
    """A sequence marked by `[]`: one item alone stays a list."""

    __slots__ = ()


class Cons(list[Any]):
    """An array built by `[...]` as the first or last step of a path: it is not flattened into its surroundings."""

    __slots__ = ()


class Exact(Decimal):
    """A decimal made by `$decimal`: arithmetic on it is decimal, not on doubles. It leaves as a plain Decimal."""

    __slots__ = ()


EMPTY: Final = Seq()
LISTS: Final = frozenset((list, Seq, Kept, Cons))
FLAT: Final = frozenset((list, Seq, Kept))
NUMBERS: Final = frozenset((int, float, Decimal, Exact))
DECIMALS: Final = frozenset((Decimal, Exact))
SAFE: Final = 9007199254740992


class Function:
    """A function value. `arity` is the number of arguments that higher-order functions may pass."""

    __slots__ = ("arity",)
    arity: int

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()}/{self.arity}>"


class Lambda(Function):
    """A function written in an expression; `run` takes precisely `arity` arguments."""

    __slots__ = ("run", "signature")

    def __init__(self, run: Callable[..., Any], arity: int, signature: Any = None) -> None:
        self.run = run
        self.arity = arity
        self.signature = signature


class Native(Function):
    """A built-in or registered function. With `stateful`, `run` gets the evaluation's state as its first argument."""

    __slots__ = (
        "answer",
        "contextual",
        "fits",
        "name",
        "quick",
        "quick_arity",
        "run",
        "signature",
        "stateful",
        "width",
    )

    def __init__(
        self, name: str, run: Callable[..., Any], signature: Any = None, *, arity: int, stateful: bool = False
    ) -> None:
        self.name = name
        self.run = run
        self.signature = signature
        self.arity = arity
        self.width = arity
        self.stateful = stateful
        #: by the shape of the call: classes of arguments that need no further check; filled as calls are seen
        self.fits: dict[Any, set[Any]] = {}
        #: a shortcut for common arguments, which answers HOLE for any other; and how many arguments it takes
        self.quick: Callable[..., Any] | None = None
        self.quick_arity: tuple[int, ...] = ()
        #: the signature letter of what a built-in surely answers, if it answers anything
        self.answer = ""
        self.contextual = signature is not None and signature.contextual


class TailCall:
    """A call in tail position, handed back to whoever called the function so that the stack does not grow."""

    __slots__ = ("args", "function", "node")

    def __init__(self, function: Any, args: tuple[Any, ...], node: int) -> None:
        self.function = function
        self.args = args
        self.node = node


def normal(value: Any) -> Any:
    """A sequence as the value it stands for; anything else as it is."""
    if value.__class__ is Seq:
        count = len(value)
        if count == 1:
            return value[0]
        return value if count else UNDEFINED
    if value.__class__ is Kept and not value:
        return UNDEFINED
    return value


def settle(items: list[Any]) -> Any:
    """The value that freshly collected items stand for."""
    count = len(items)
    if count == 1:
        return items[0]
    return Seq(items) if count else UNDEFINED


def is_number(value: Any) -> bool:
    return value.__class__ in NUMBERS


def is_function(value: Any) -> bool:
    return isinstance(value, Function) or (callable(value) and not isinstance(value, type))
