"""Functions that the project's mappings know: each is called by its name with a `$` before it."""

from decimal import Decimal


def net(gross, rate):
    """A gross price without its tax, to the cent."""
    return (Decimal(str(gross)) / (1 + Decimal(str(rate)))).quantize(Decimal("0.01"))
