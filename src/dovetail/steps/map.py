"""Message translator: a mapping makes the new body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dovetail.sdk import UNDEFINED, Build, Message, MessageStep, Rejected, Spec, field
from dovetail.steps._values import excerpt


class Map(MessageStep):
    """Puts the result of a mapping in the body's place. A mapping that gives nothing fails the message.

    With a `contract` the result gets its shape (one-element arrays stay arrays) and must keep it.
    """

    sees_body = True
    makes_body: ClassVar[Mapping[str, str]] = {"mapping": "contract"}

    class Config(Spec):
        mapping: str = field(
            main=True,
            kind="expression",
            help="The mapping, or the path of a `.jsonata` file.",
            example="maps/order.jsonata",
        )
        contract: str | None = field(
            default=None, kind="contract", help="What the new body must look like.", example="erp.sales_order@1"
        )
        format: str = field(default="json", kind="format", help="The format the new body is written in.", example="xml")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._evaluate = build.expression(config.mapping).evaluate
        self._contract = build.contract(config.contract) if config.contract is not None else None
        self._codec = build.codecs.by_name(config.format)

    def apply(self, message: Message) -> Message:
        """The message with its new value; it is encoded when somebody asks for the bytes."""
        value = self._evaluate(message)
        contract = self._contract
        if contract is not None:
            value = contract.shape(value)
        if value is UNDEFINED:
            raise Rejected(
                f"the mapping gives nothing for this message: {excerpt(self.config.mapping)}; use 'filter' to leave"
                " messages out, or write null for an empty body",
                code="undefined",
            )
        made = message.with_value(value, self._codec)
        if contract is not None:
            contract.check(made)
        return made
