"""Splitter: a message becomes several."""

from __future__ import annotations

from collections.abc import Sequence

from dovetail.sdk import UNDEFINED, Build, Context, Message, Result, Spec, Step, field


class Split(Step):
    """Makes one message of each item of a list. The parts go through the rest as messages of their own, each
    with its own retries and outcome; the whole has ended when all of them have. An empty list, or none, ends it at
    once.

    Parts keep the headers and the variables of the whole. With `key`, parts of one key go in order, otherwise side by
    side.
    """

    top_level = True

    class Config(Spec):
        expression: str = field(main=True, kind="expression", help="The list of parts.", example="line_items")
        key: str | None = field(
            default=None, kind="expression", help="The key of a part, evaluated on the part.", example="sku"
        )
        as_: str | None = field(
            default=None, help="The variable in which each part finds its `index` (from 0) and the `count` of parts.",
            example="part", pattern=r"[A-Za-z_]\w*",
        )  # fmt: skip
        format: str = field(default="json", kind="format", help="The format the parts are written in.")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._list = build.expression(config.expression)
        self._key = build.expression(config.key) if config.key is not None else None
        self._codec = build.codecs.by_name(config.format)

    async def run(self, batch: Sequence[Message], context: Context) -> Result:
        """Hand the parts over; the wholes are in no list of the result."""
        result = Result()
        for message in batch:
            try:
                context.split(self.id, message, self._parts(message))
            except Exception as error:
                result.failed.append((message, error))
        return result

    def _parts(self, message: Message) -> list[Message]:
        found = self._list.evaluate(message)
        if found is UNDEFINED or found is None:
            return []
        values = found if isinstance(found, list | tuple) else [found]
        return [self._part(message, value, index, len(values)) for index, value in enumerate(values)]

    def _part(self, message: Message, value: object, index: int, count: int) -> Message:
        part = message.with_value(value, self._codec)
        part.parent, part.key = message.id, None
        if self.config.as_ is not None:
            part.variables = {**message.variables, self.config.as_: {"index": index, "count": count}}
        if self._key is not None:
            key = self._key.evaluate(part)
            part.key = None if key is UNDEFINED or key is None else str(key)
        return part
