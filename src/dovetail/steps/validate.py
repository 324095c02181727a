"""A contract held against the message."""

from __future__ import annotations

from dovetail.sdk import Build, Message, MessageStep, Spec, field


class Validate(MessageStep):
    """Fails a message that breaks a contract, with the paths at fault. One that keeps it goes on untouched."""

    sees_body = True
    keeps_body = True

    class Config(Spec):
        contract: str = field(main=True, kind="contract", help="The contract.", example="shop.order@2")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._check = build.contract(config.contract).check

    def apply(self, message: Message) -> Message:
        """The same message, or `Rejected`."""
        self._check(message)
        return message
