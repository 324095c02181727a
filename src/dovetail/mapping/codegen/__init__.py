"""The tree → one Python function. `compile_tree` is the way in."""

from __future__ import annotations

from .coder import Program, compile_tree

__all__ = ["Program", "compile_tree"]
