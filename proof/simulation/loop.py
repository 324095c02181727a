"""The virtual loop with nodes on it, which can die: their tasks are dropped where they stand, no `finally` runs."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from dovetail.testkit.clock import VirtualClock
from dovetail.testkit.loop import VirtualLoop

MOST_STEPS = 40_000  # rounds of the loop in one world


class Endless(RuntimeError):
    """The world does not come to rest."""


class Crash(BaseException):
    """The process ends here and now. Raised only to leave the code that was running."""


class Node:
    """One life of a process. What is called through `enter` belongs to it, and so does all that this starts."""

    def __init__(self, loop: NodeLoop) -> None:
        self.loop = loop
        self.dead = False
        self._context = contextvars.copy_context()
        self._context.run(NODE.set, self)

    def enter(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call something as the node."""
        return self._context.copy().run(function, *args)

    def task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something as the node."""
        return self.loop.create_task(work, context=self._context.copy())


NODE: contextvars.ContextVar[Node | None] = contextvars.ContextVar("node", default=None)


class NodeLoop(VirtualLoop):
    """A virtual loop that several lives share with the world around them. `steps` counts its rounds; `fuse` is called
    when it has come down to 0."""

    def __init__(self, clock: VirtualClock, seed: int) -> None:
        super().__init__(clock, seed)
        self.steps = 0
        self.fuse = -1
        self.blow: Callable[[], None] = lambda: None
        self._graves: list[asyncio.Task[Any]] = []
        self.set_exception_handler(lambda loop, context: None)

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        node = context.get(NODE) if context is not None else NODE.get()
        if node is not None and node.dead:
            return asyncio.Handle(callback, (), self, context)
        return super().call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        node = context.get(NODE) if context is not None else NODE.get()
        if node is not None and node.dead:
            return asyncio.TimerHandle(when, callback, (), self, context)
        return super().call_at(when, callback, *args, context=context)

    def _run_once(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Endless(f"after {self.steps} rounds at {self.clock.monotonic():.1f} s")
        if self.fuse >= 0:
            self.fuse -= 1
            if self.fuse < 0:
                self._ready.insert(  # type: ignore[attr-defined]
                    self._dice.randrange(len(self._ready) + 1),  # type: ignore[attr-defined]
                    asyncio.Handle(self.blow, (), self, contextvars.copy_context()),
                )
        super()._run_once()

    def kill(self, node: Node) -> None:
        """The node stops existing: nothing of it ever runs again."""
        node.dead = True
        self._graves += asyncio.all_tasks(self)  # kept, so that no coroutine is closed while time goes on
        for handle in [*self._ready, *self._scheduled]:  # type: ignore[attr-defined]
            if handle._context.get(NODE) is node:
                handle.cancel()

    def bury(self) -> None:
        """At the very end: close what was dropped, outside of any loop."""
        for task in self._graves:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with contextlib.suppress(BaseException), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    task.get_coro().close()
        self._graves.clear()


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """What dead tasks complain of while they are buried interests nobody."""
    earlier = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: None
    try:
        yield
    finally:
        sys.unraisablehook = earlier


def play(seed: int, main: Callable[[NodeLoop], Coroutine[Any, Any, Any]]) -> Any:
    """Run `main(loop)` to its end in virtual time."""
    loop = NodeLoop(VirtualClock(1_800_000_000_000), seed)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main(loop))
    finally:
        asyncio.set_event_loop(None)
        with silence():
            loop._graves += [task for task in asyncio.all_tasks(loop) if not task.done()]
            loop.bury()
            loop.close()
