"""A guest of Dovetail: the weather as a connection, and a step that shouts."""

from dovetail.sdk import Plugin
from dovetail_weather.connection import Weather
from dovetail_weather.shout import Shout

plugin = Plugin("dovetail-weather", "1.0", steps={"shout": Shout}, connections={"weather": Weather})
