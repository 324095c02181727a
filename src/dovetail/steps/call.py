"""Request and reply with an outside system."""

from __future__ import annotations

from collections.abc import Iterable

from dovetail.sdk import Build, Context, Duration, EffectStep, Message, Spec, field
from dovetail.steps._compensate import Compensate, Sagas, one_way
from dovetail.steps._values import Body, Values, answer_of


class Call(EffectStep):
    """Calls an operation of a connection, once per message: an answer on record is not asked for again.

    The operation gets the message's body, or the value of `body`. With `as` the answer is remembered for later steps.
    """

    sees_body = True
    keeps_body = True

    class Config(Spec):
        operation: str = field(main=True, kind="operation", help="The operation.", example="erp.create_sales_order")
        args: dict[str, str] = field(
            default={},
            kind="expression",
            help="The operation's arguments, each an expression.",
            example={"id": "customer.id"},
        )
        body: str | None = field(default=None, kind="expression", help="The body to send in place of the message's.")
        format: str = field(default="json", kind="format", help="The format `body` is written in.")
        as_: str | None = field(
            default=None, help="The variable that remembers the answer.", example="erp", pattern=r"[A-Za-z_]\w*"
        )
        timeout: Duration | None = field(default=None, help="The total time one attempt may take.", example="10s")
        compensate: Compensate | None = field(
            default=None, help="What undoes it when the message fails for good later.", example="warehouse.release"
        )
        pivot: bool = field(
            default=False, help="Whether there is only forward once this is done: nothing before it is undone any more."
        )

        def rules(self) -> Iterable[tuple[str, str]]:
            """Undone, or the point of no return."""
            return one_way(self.compensate, self.pivot)

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._operation = build.operation(config.operation)
        self._args = Values(build, config.args)
        self._body = Body(build, config.body, config.format)
        self._sagas = Sagas(build, config.compensate, config.pivot)

    async def act(self, message: Message, context: Context) -> Message:
        """Call; the message goes on as it came, remembering the answer if it was told to."""
        args = self._args.evaluate(message) if self._args else None
        saga = self._sagas.of(message) if self._sagas else None
        reply = await context.call(self.id, self._operation, self._body.of(message), args, self.config.timeout, saga)
        if self.config.as_ is None:
            return message
        return message.with_var(self.config.as_, answer_of(reply, self.id))
