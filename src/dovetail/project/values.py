"""Placeholders: `${env:NAME}` and `${secret:name}` in the text become values before anything is checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final, Literal

from dovetail.errors import ProjectError
from dovetail.spec import UNKNOWN, Location, Locator, Loose, Path, Report, Secret

_PLACEHOLDER: Final = re.compile(r"\$\{(env|secret):([A-Za-z0-9_.-]+)\}")
_NEAR_MISS: Final = re.compile(r"\$\{(\w+):([\w.-]*)\}|\$\{(env|secret)[ .]?(\w*)\}|\$\{[A-Z_][A-Z0-9_]*\}")
_SECRET: Final = "DOVETAIL_SECRET_"

Secrets = Callable[[str], str | None]


@dataclass(frozen=True)
class Surroundings:
    """What the text does not say itself.

    `environment` is the one to run in. `variables` are the process's, which win over the project's own values.
    `strict`: a variable or secret that is not set is an error, not a warning.
    """

    environment: str = "dev"
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Secrets = lambda name: None
    strict: bool = True

    @classmethod
    def of(cls, folder: FilePath, environment: str, environ: Mapping[str, str], *, strict: bool = True) -> Surroundings:
        """From a process's environment, whose `DOVETAIL_SECRET_<NAME>` win over the file of secrets.

        That file is named by `DOVETAIL_SECRETS_FILE`, or `.dovetail/secrets.env` in the project if it is there. Raises
        ProjectError when it cannot be read or others may read it.
        """
        named = environ.get("DOVETAIL_SECRETS_FILE")
        path = FilePath(named) if named else folder / ".dovetail" / "secrets.env"
        known = read_secrets(path) if named or path.exists() else {}
        plain = {name: value for name, value in environ.items() if not name.startswith(_SECRET)}
        return cls(environment, plain, lambda name: environ.get(secret_variable(name), known.get(name)), strict)


def secret_variable(name: str) -> str:
    """`shop_webhook` → `DOVETAIL_SECRET_SHOP_WEBHOOK`."""
    return _SECRET + re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def read_secrets(path: FilePath) -> dict[str, str]:
    """The secrets of a file with `name=value` lines; `#` starts a comment line.

    Raises ProjectError, never quoting a line.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise ProjectError(f"others may read the secrets file {path.name}; run: chmod 600 {path.name}")
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"the secrets file {path.name} cannot be read: {type(error).__name__}") from None
    secrets: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ProjectError(f"{path.name}:{number}: a secret is written name=value")
        secrets[name.strip()] = value.strip()
    return secrets


class Resolver:
    """Replaces placeholders in plain values. With `hide` secrets stay as they are written.

    `made` collects the secrets that came from a placeholder, `used` the variables that were read.
    """

    def __init__(self, around: Surroundings, values: Mapping[str, str], *, hide: bool = False) -> None:
        self._around = around
        self._values = values
        self._hide = hide
        self._level: Literal["error", "warning"] = "error" if around.strict else "warning"
        self.made: list[Secret] = []
        self.used: dict[str, str] = {}

    def resolve(self, value: Any, report: Report, path: Path = ()) -> Any:
        """The value with its placeholders replaced; what cannot be is reported and becomes UNKNOWN."""
        if isinstance(value, dict):
            return {name: self.resolve(item, report, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, report, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return self._text(value, report, path)
        return value

    def _text(self, text: str, report: Report, path: Path) -> Any:
        found = list(_PLACEHOLDER.finditer(text))
        if not found:
            if _NEAR_MISS.fullmatch(text.strip()):
                report.add(
                    path, f"'{text}' is no placeholder", "write ${env:NAME} or ${secret:name}", code="placeholder"
                )
                return UNKNOWN
            return text
        values = [self._value(match, report, path) for match in found]
        if None in values:
            return UNKNOWN
        rest = iter(values)
        whole = _PLACEHOLDER.sub(lambda match: next(rest) or "", text)
        if self._hide or all(match[1] == "env" for match in found):
            return Loose(whole)
        self.made.append(Secret(whole))
        return self.made[-1]

    def _value(self, match: re.Match[str], report: Report, path: Path) -> str | None:
        kind, name = match[1], match[2]
        if kind == "secret":
            secret = match[0] if self._hide else self._around.secrets(name)
            if secret is None:
                hint = f"set {secret_variable(name)}"
                report.add(path, f"the secret '{name}' is not set", hint, code="secret-missing", level=self._level)
            return secret
        value = self._around.variables.get(name, self._values.get(name))
        if value is None:
            hint = f"set it, or give it under environments.{self._around.environment}.env in dovetail.yaml"
            message = f"the environment variable {name} is not set"
            report.add(path, message, hint, code="variable-missing", level=self._level)
        else:
            self.used[name] = value
        return value


def merged(base: Any, over: Any) -> Any:
    """`base` with the values of `over` in the place of its own; mappings are merged, everything else is replaced."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{name: merged(base.get(name), value) for name, value in over.items()}}


def layered(base: Locator, over: Locator, prefix: Path, value: Any) -> Locator:
    """Finds a path where it was written: in the layer above (`value`, which stands at `prefix` there), else below."""

    def locate(path: Path, *, key: bool = False) -> Location:
        here = value
        for part in path:
            if not isinstance(here, dict) or part not in here:
                return base(path, key=key)
            here = here[part]
        return base(path, key=key) if isinstance(here, dict) else over((*prefix, *path), key=key)

    return locate
