"""Every error of Dovetail, named by what the engine does next.

The tree is drawn here once::

    DovetailError
    ├── ProjectError     the text of a project is wrong; nothing starts
    ├── StoreError       the store cannot be used as it is (corrupt, locked, of a newer version)
    ├── Refused          at the door: nothing was accepted, the caller is told why (4xx)
    ├── Unavailable      at the door: not now, ask again later (503)
    └── MessageError     one accepted message could not go on
        ├── Rejected     it never will: dead letter at once
        ├── Retry        it may later: durable retry
        ├── Throttled    the target asked for patience: retry, the breaker does not count it
        ├── Paused       the target cannot be used now (credentials, name, certificate, open breaker): no attempt is
        │   │            burnt
        │   └── Waiting  nothing is wrong: it waits for a time or an event
        └── InDoubt      it was sent and nobody knows the outcome: the operation's way of repeating decides
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class DovetailError(Exception):
    """The root. `code` is a short stable word for machines, `detail` is plain data for a person's screen."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, detail: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        if code is not None:
            self.code = code


class ProjectError(DovetailError):
    """A project does not load. `problems` are `dovetail.spec.Problem`s, all of them, in file order."""

    code = "project"

    def __init__(self, message: str, problems: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)


class StoreError(DovetailError):
    """The store cannot be opened or trusted as it is. The message says what to do."""

    code = "store"


class Damaged(StoreError):
    """Stored bytes have changed: nothing is read or written any more until a backup is restored."""


class Refused(DovetailError):
    """The door stays shut for this input. `status` is the HTTP status a caller gets (400-499)."""

    code = "refused"

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, detail: Any = None) -> None:
        super().__init__(message, code=code, detail=detail)
        self.status = status


class Unavailable(DovetailError):
    """Nothing can be accepted now. `after` is the number of seconds to wait before asking again."""

    code = "unavailable"

    def __init__(self, message: str, *, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = after


class MessageError(DovetailError):
    """One accepted message could not go on. `target` names the outside system, if one was involved."""

    code = "message"
    target: str | None = None
    step: str  # the innermost step it failed at; there once a chain has seen it


class Rejected(MessageError):
    """Permanent: the same message will fail in the same way. It becomes a dead letter at once.

    `untouched`: where the target knows a repeat by its key, it proves that no attempt before it was done either.
    """

    code = "rejected"
    untouched = True


class Retry(MessageError):
    """Transient: try again later. `after` (seconds) is the target's own word, when it gave one."""

    code = "retry"

    def __init__(
        self, message: str, *, after: float | None = None, code: str | None = None, detail: Any = None,
        untouched: bool = False,
    ) -> None:  # fmt: skip
        """`untouched`: the target provably did nothing, so nothing will have to be undone."""
        super().__init__(message, code=code, detail=detail)
        self.after = after
        self.untouched = untouched


class Throttled(Retry):
    """The target asked us to slow down (429). Retried after `after` seconds; its breaker stays closed."""

    code = "throttled"


class Paused(Retry):
    """The target cannot be used at all for now. The message waits `after` seconds and loses no attempt."""

    code = "paused"


class Waiting(Paused):
    """Nothing is wrong: the message waits until a time, or until somebody wakes it. Its message says for what.

    `until` is in the engine's milliseconds (see `dovetail.sdk.State`); None waits for ever.
    """

    code = "waiting"

    def __init__(self, message: str, *, until: int | None = None) -> None:
        super().__init__(message)
        self.until = until


class InDoubt(MessageError):
    """The call went out and its outcome is unknown (deadline, reset after sending, crash).

    `park` is set by the engine: a repeat would be a second effect and the flow did not ask for one.
    """

    code = "in_doubt"
    park = False
