"""Channel adapter: messages go out through a sink."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dovetail.sdk import Build, Context, Dropped, Duration, Failed, Message, MessageError, Result, Spec, Step, field
from dovetail.steps._compensate import Compensate, Sagas, one_way
from dovetail.steps._values import Body, Values


class Send(Step):
    """Writes messages to a sink of a connection, as many at once as the engine hands over; each has its own outcome."""

    effectful = True
    sees_body = True
    keeps_body = True

    class Config(Spec):
        sink: str = field(main=True, kind="sink", help="The sink.", example="archive.write")
        args: dict[str, str] = field(
            default={},
            kind="expression",
            help="The sink's arguments, each an expression.",
            example={"path": "id & '.json'"},
        )
        body: str | None = field(default=None, kind="expression", help="The body to send in place of the message's.")
        format: str = field(default="json", kind="format", help="The format `body` is written in.")
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
        self._sink = build.sink(config.sink)
        self._args = Values(build, config.args)
        self._body = Body(build, config.body, config.format)
        self._sagas = Sagas(build, config.compensate, config.pivot)

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        """Write what can be put together; a message goes on as it came when it was written."""
        result = Result()
        ready: list[Message] = []
        bodies: list[Message] = []
        args: list[dict[str, object]] = []
        for message in batch:
            try:
                body, values = self._body.of(message), self._args.evaluate(message)
            except Exception as error:
                result.failed.append((message, error))
            else:
                ready.append(message)
                bodies.append(body)
                args.append(values)
        if not ready:
            return result
        try:
            outcomes = await context.write(
                self.id, self._sink, bodies, args if self._args else None, self.config.timeout,
                [saga for saga in map(self._sagas.of, ready) if saga is not None] if self._sagas else None,
            )  # fmt: skip
        except MessageError as error:
            result.failed += [(message, error) for message in ready]
            return result
        for message, outcome in zip(ready, outcomes, strict=True):
            if isinstance(outcome, Failed):
                result.failed.append((message, outcome.error))
            elif isinstance(outcome, Dropped):
                result.dropped.append((message, outcome.reason))
            else:
                result.out.append(message)
        return result
