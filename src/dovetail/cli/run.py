"""`dovetail run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from dovetail.cli.desk import find_project
from dovetail.cli.exits import PROBLEMS, report

Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0))]


def run(
    folder: Annotated[Path | None, Parameter(show_default=False)] = None, /, *,
    env: Annotated[str, Parameter(alias="-e", env_var="DOVETAIL_ENV")] = "dev", store: Path | None = None,
    host: str = "127.0.0.1", port: Port = 8080, admin_host: str = "127.0.0.1", admin_port: Port = 8081,
    log: Literal["auto", "json", "console"] = "auto", drain: Seconds = 30.0,
    stall: Seconds = 30.0, memory: str | None = None, supervise: bool = False,
) -> int:  # fmt: skip
    """Serve; the exit code is 0 after a drain.

    Parameters
    ----------
    folder
        The project folder. Default: this folder or the nearest one above it with a dovetail.yaml.
    env
        The environment of the project to run in.
    store
        The folder of the store. Default: .dovetail in the project folder.
    host
        Where webhooks and APIs listen.
    port
        The port for webhooks and APIs; 0 takes a free one.
    admin_host
        Where the admin API listens.
    admin_port
        The port of the admin API; 0 takes a free one.
    log
        How log lines look on standard error; auto is console on a terminal, else JSON.
    drain
        Seconds that running work may take to end when the server is told to stop.
    stall
        Seconds that a message may keep all others from running before the server ends itself; 0 for ever. The next
        start runs what was in flight one at a time, and a message that does it again becomes a dead letter.
    memory
        How much memory the server may use (512MB, 2GB) before it ends itself; from four fifths of it on each flow runs
        one message at a time. Default: what the system allows its group, if it says.
    supervise
        Start the server again when it was killed or ended itself.
    """
    from dovetail.app import Options, serve
    from dovetail.errors import ProjectError
    from dovetail.spec import Size

    if supervise:
        import asyncio

        from dovetail.cli.supervise import supervise as parent
        from dovetail.control.places import Places

        address = Places.of(find_project(folder), store).server
        return asyncio.run(parent([word for word in sys.argv[1:] if word != "--supervise"], address))
    options = Options(
        folder=find_project(folder), environment=env, store=store, host=host, port=port, admin_host=admin_host,
        admin_port=admin_port, log_format=log, drain_seconds=drain, stall_seconds=stall,
        memory=int(Size.parse(memory)) if memory else 0,
    )  # fmt: skip
    try:
        return serve(options)
    except ProjectError as error:
        if not error.problems:
            raise
        from dovetail.cli.check import drawn
        from dovetail.cli.output import notes

        for problem in error.problems:
            notes().print(drawn(problem), soft_wrap=True)
        return report(error.message, error.code, PROBLEMS, False)
