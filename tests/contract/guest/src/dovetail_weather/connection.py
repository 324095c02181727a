"""The weather of a place. Delivery promise: reading twice is reading once. Limits: three places."""

from collections.abc import Mapping
from typing import ClassVar

from dovetail.sdk import Call, Connection, Operation, Rejected, Repeat, Reply, Spec, field


class Weather(Connection):
    """An almanac that knows the weather of a few places."""

    class Config(Spec):
        unit: str = field(default="C", main=True, help="The unit of temperatures, C or F.", pattern="[CF]")

    operations: ClassVar[Mapping[str, Repeat]] = {"look_up": Repeat.NATURAL}

    def operation(self, name: str) -> Operation:
        """`look_up`."""
        if name != "look_up":
            raise KeyError(name)
        return LookUp(self.name, self.config.unit)


class LookUp(Operation):
    """The temperature at `place`."""

    repeat = Repeat.NATURAL
    almanac: ClassVar[Mapping[str, int]] = {"Oslo": 4, "Rome": 19, "Lima": 23}

    def __init__(self, connection: str, unit: str) -> None:
        self.name, self.target, self._unit = f"{connection}.look_up", connection, unit

    async def call(self, call: Call) -> Reply:
        """`{temperature, unit}`. Raises `Rejected` for a place that nobody knows."""
        place = call.args.get("place")
        if place not in self.almanac:
            raise Rejected(f"there is no weather for {place!r}", code="no_place")
        celsius = self.almanac[place]
        return Reply(value={"temperature": celsius if self._unit == "C" else celsius * 9 // 5 + 32, "unit": self._unit})
