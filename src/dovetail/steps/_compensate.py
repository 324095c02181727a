"""How a step's effect is undone: the settings, and the saga they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dovetail.sdk import Build, Duration, Message, Reply, Saga, Spec, field
from dovetail.steps._values import Body, Values, answer_of


class Compensate(Spec):
    """The operation that undoes the effect. Its expressions see the message as this step saw it, and the effect's
    answer as `$vars.reply`; that is missing when nobody knows whether the effect took place."""

    operation: str = field(main=True, kind="operation", help="The operation.", example="warehouse.release")
    args: dict[str, str] = field(
        default={}, kind="expression", help="The operation's arguments, each an expression.",
        example={"reservation": "$vars.reply.id"},
    )  # fmt: skip
    body: str | None = field(default=None, kind="expression", help="The body to send in place of the message's.")
    format: str = field(default="json", kind="format", help="The format `body` is written in.")
    timeout: Duration | None = field(default=None, help="The total time one attempt may take.", example="10s")


class Sagas:
    """Makes the saga of each message from a step's `compensate` and `pivot`."""

    def __init__(self, build: Build, compensate: Compensate | None, pivot: bool) -> None:
        self._config, self._pivot, self._step = compensate, Saga(pivot=True) if pivot else None, build.step
        if compensate is not None:
            build.operation(compensate.operation)  # it is there
            self._args = Values(build, compensate.args)
            self._body = Body(build, compensate.body, compensate.format)

    def __bool__(self) -> bool:
        return self._config is not None or self._pivot is not None

    def of(self, message: Message) -> Saga | None:
        """What undoes this message's effect, or that it is a pivot; None for a step that says neither."""
        if self._config is None:
            return self._pivot
        return Saga(self._config.operation, self._request(message), self._config.timeout)

    def _request(self, message: Message) -> Callable[[Reply | None], tuple[Message, Mapping[str, Any]]]:
        def request(reply: Reply | None) -> tuple[Message, Mapping[str, Any]]:
            seen = message if reply is None else message.with_var("reply", answer_of(reply, self._step))
            return self._body.of(seen), self._args.evaluate(seen)

        return request


def one_way(compensate: Compensate | None, pivot: bool) -> Iterable[tuple[str, str]]:
    """A pivot is never undone."""
    if compensate is not None and pivot:
        yield "compensate", "after a pivot nothing is undone, the pivot itself neither: keep one of the two"
