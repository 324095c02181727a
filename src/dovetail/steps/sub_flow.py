"""Another flow's steps, in this flow's place."""

from __future__ import annotations

from dovetail.sdk import Build, Context, EffectStep, Message, Spec, field
from dovetail.steps._nested import through


class SubFlow(EffectStep):
    """Runs the steps of another flow of the project as if they stood here. They share the message, its retries and its
    outcome; the other flow's source, key and failure policy play no part.
    """

    class Config(Spec):
        flow: str = field(main=True, kind="flow", help="The flow whose steps are run.", example="price-an-order")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._chain = build.sub_flow(config.flow)
        self.chains = (self._chain,)
        self.effectful = self._chain.effectful

    async def act(self, message: Message, context: Context) -> Message:
        """Through the other flow's steps."""
        return await through(self._chain, message, context.branch(self.id))
