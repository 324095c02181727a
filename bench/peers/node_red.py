"""Node-RED: http in → 202 at once, and function → http request on keep-alive connections. All else as shipped."""

from __future__ import annotations

from pathlib import Path

from subjects import TOOLS, Subject, npm_install

VERSION = "4.1.15"  # the newest that runs on Node 20


class NodeRed(Subject):
    """Node-RED in a user folder of its own."""

    name = "node-red"
    most = 20_000
    tools = TOOLS / "node-red"

    @classmethod
    def install(cls) -> str:
        npm_install(cls.tools, f"node-red@{VERSION}", {}, [])
        return VERSION

    def deploy(self) -> None:
        flow = (Path(__file__).parent / "node_red.flow.json").read_text()
        (self.folder / "flows.json").write_text(flow.replace("TARGET_URL", f"http://127.0.0.1:{self.target}"))
        (self.folder / "settings.js").write_text(
            "module.exports = {flowFile: 'flows.json', uiHost: '127.0.0.1', disableEditor: true,"
            " telemetry: {enabled: false}, logging: {console: {level: 'warn'}}};\n"
        )

    def command(self) -> tuple[list[str], dict[str, str]]:
        script = self.tools / "node_modules" / "node-red" / "red.js"
        return ["node", str(script), "--userDir", str(self.folder), "--port", str(self.port)], {}
