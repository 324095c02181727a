"""The command line: thin. It parses words, asks the desk and draws the answer."""

from dovetail.cli.main import main

__all__ = ["main"]
