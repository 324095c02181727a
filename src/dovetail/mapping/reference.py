"""The reference of the built-in functions, written from their declarations.

python -m dovetail.mapping.reference > docs/mapping-functions.md
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from .functions.registry import DECLARED
from .values import UNDEFINED

HEAD = """# Functions of the mapping language

Written from the declarations in `src/dovetail/mapping/functions` by `python -m dovetail.mapping.reference`; every
example is executed by the tests. The signature is JSONata's notation: `s` text, `n` number, `b` boolean, `a` array,
`o` object, `f` function, `x` anything; `?` optional, `-` taken from the context if it is left out, `+` one or more.
"""


def reference() -> str:
    """The page as Markdown."""
    parts = [HEAD]
    family = ""
    for one in DECLARED.values():
        if one.family != family:
            family = one.family
            module = importlib.import_module(f"{__package__}.functions.{family}")
            title = (module.__doc__ or "").split("\n")[0].rstrip(".")
            parts.append(f"\n## {title}\n")
        parts.append(f"\n### `${one.name}` `{one.signature}`\n\n{one.help}\n")
        if one.examples:
            lines = [f"{text}  →  {shown(value)}" for text, value in one.examples]
            parts.append("\n```\n" + "\n".join(lines) + "\n```\n")
    return "".join(parts)


def shown(value: Any) -> str:
    return "nothing" if value is UNDEFINED else json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(reference())
