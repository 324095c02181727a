"""The project's own Python: functions that steps name, and those of `python/functions.py`, which mappings know."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, Final

from dovetail.errors import ProjectError
from dovetail.mapping import define
from dovetail.project.model import Project
from dovetail.project.tree import FileTree
from dovetail.sdk import UNDEFINED

FUNCTIONS: Final = "python/functions.py"  # each public function in it is one of the mapping language: `$name`


def mapping_functions(tree: FileTree) -> dict[str, int]:
    """The functions that mappings know, with their lines; none where the file does not parse, which is told for it."""
    try:
        module = ast.parse(tree.get(FUNCTIONS, b""))
    except (SyntaxError, ValueError):
        return {}
    found = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    return {node.name: node.lineno for node in found if not node.name.startswith("_")}


def registered(project: Project) -> Mapping[str, Any]:
    """The project's mapping functions by name, ready for `compile`. Raises ProjectError."""
    found = mapping_functions(project.files)
    module = load_module(project, "functions") if found else None
    return {name: define(name, plainly(getattr(module, name))) for name in found}


def plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as mappings call it: where an argument is nothing, its default takes its place; if it has none, the
    answer is nothing."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    defaults = [one.default for one in inspect.signature(function).parameters.values() if one.kind in kinds]

    @functools.wraps(function)
    def run(*given: Any) -> Any:
        missing = (UNDEFINED,) * (len(defaults) - len(given))
        args = [*given, *missing]
        for place, value in enumerate(args):
            if value is UNDEFINED:
                default = defaults[place] if place < len(defaults) else None
                if default is inspect.Parameter.empty:
                    return UNDEFINED
                args[place] = default
        return function(*args)

    return run


def load_function(project: Project, ref: str) -> Callable[..., Any]:
    """`module:function` of the project's own, from the text that the flow's version was made with.

    Raises ProjectError when the module cannot be imported or has no such function.
    """
    module, _, name = ref.partition(":")
    function: Callable[..., Any] | None = getattr(load_module(project, module), name, None)
    if not callable(function):
        raise ProjectError(f"{module_file(module)} has no function {name!r}")
    return function


def load_module(project: Project, name: str) -> types.ModuleType:
    """A module of the project's own. Raises ProjectError."""
    file = module_file(name)
    source = project.files.get(file)
    if source is None:
        raise ProjectError(f"{file} is not there")
    version = hashlib.sha256(source).hexdigest()[:12]  # versions of one module live side by side
    module = types.ModuleType(f"dovetail_project_{project.name.replace('-', '_')}.{name}_{version}")
    module.__file__ = str(project.folder / file)
    sys.modules[module.__name__] = module  # dataclasses and annotations look their module up
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    except Exception as error:
        raise ProjectError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def module_file(name: str) -> str:
    """Where a module of the project is written."""
    return f"python/{name.replace('.', '/')}.py"
