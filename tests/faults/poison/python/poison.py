"""What a bad message does is written in it."""

import asyncio
import os
import re
import signal
from typing import Any


async def act(order: Any) -> None:
    match order.get("does"):
        case "raise":
            raise RuntimeError("no such order")
        case "wait":
            await asyncio.Event().wait()
        case "hang":
            while True:
                pass
        case "hang deaf":  # no other thread gets a turn
            re.match(r"(a+)+$", "a" * 60 + "b")
        case "eat":  # 600 MB, and keeps them
            eaten = [b"x" * 20_000_000 for _ in range(30)]
            await asyncio.Event().wait()
            eaten.clear()
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
