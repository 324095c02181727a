"""n8n: webhook that answers 202 at once → edit fields → HTTP request. SQLite and all else as shipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from subjects import TOOLS, Subject, Unavailable, ask, npm_install

VERSION = "1.123.81"  # the newest that runs on Node 20
# Two of its dependencies come from elsewhere than the npm registry or do not build on Node 20; the flow uses neither.
OVERRIDES = {"xlsx": "0.18.5", "isolated-vm": "5.0.4"}
QUIET = {
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_SECURE_COOKIE": "false",
    "N8N_LOG_LEVEL": "warn",
    "N8N_LISTEN_ADDRESS": "127.0.0.1",
}


class N8n(Subject):
    """n8n in a user folder of its own."""

    name = "n8n"
    path = "/webhook/orders"
    most = 400
    tools = TOOLS / "n8n"

    @classmethod
    def install(cls) -> str:
        npm_install(cls.tools, f"n8n@{VERSION}", OVERRIDES, ["sqlite3", "isolated-vm"])
        return VERSION

    def deploy(self) -> None:
        flow = (Path(__file__).parent / "n8n.flow.json").read_text()
        file = self.folder / "flow.json"
        file.write_text(flow.replace("TARGET_URL", f"http://127.0.0.1:{self.target}"))
        for arguments in (["import:workflow", f"--input={file}"], ["update:workflow", "--id=bench", "--active=true"]):
            command, environment = self.command()
            done = subprocess.run(
                [*command[:-1], *arguments], env={**os.environ, **environment}, capture_output=True, text=True
            )
            if done.returncode:
                raise Unavailable(f"n8n {arguments[0]}: {(done.stderr or done.stdout).strip()[-600:]}")

    def command(self) -> tuple[list[str], dict[str, str]]:
        script = self.tools / "node_modules" / "n8n" / "bin" / "n8n"
        environment = {"N8N_USER_FOLDER": str(self.folder), "N8N_PORT": str(self.port)}
        environment["N8N_RUNNERS_BROKER_PORT"] = str(self.port + 1)
        return ["node", str(script), "start"], QUIET | environment

    def ready(self) -> bool:
        try:
            ask(self.port, "GET", "/healthz/readiness")
        except (OSError, RuntimeError, ValueError):
            return False
        return True
