"""The rig itself works: a message goes through, the books balance."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("rig", ["sqlite", "memory"], indirect=True)
async def test_a_message_goes_through(rig: Any) -> None:
    op = rig.Op()
    rig.flow("f", rig.Apply("a", lambda m: None), rig.call("c", op))
    await rig.start()
    seqs = await rig.put("f", {"n": 1}, {"n": 2})
    await rig.ended("f", 2)
    assert sorted(op.refs) == seqs
    assert rig.check("f") == {"done": 2}
    await rig.quiet("f")
