"""A step that says a field aloud."""

from dovetail.sdk import Build, Message, MessageStep, Rejected, Spec, field


class Shout(MessageStep):
    """Writes one field of the message in capitals."""

    class Config(Spec):
        name: str = field(main=True, help="The field.", example="city")

    def __init__(self, config: Config, build: Build) -> None:
        super().__init__(config, build)
        self._json = build.codecs.by_name("json")

    def apply(self, message: Message) -> Message:
        """The message with the field in capitals; one without it fails."""
        value, name = message.value, self.config.name
        if not isinstance(value, dict) or not isinstance(value.get(name), str):
            raise Rejected(f"there is no text in '{name}'", code="no_text")
        return message.with_value({**value, name: value[name].upper()}, self._json)
