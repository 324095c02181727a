"""No text of an expression becomes Python: names, strings and numbers end up as constants of the generated code."""

from __future__ import annotations

import ast
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.mapping import Limits, MappingError, compile
from dovetail.mapping.codegen.expressions import Coder
from dovetail.mapping.functions.registry import BUILTINS
from dovetail.mapping.parser import parse

#: every name that generated code may use: numbered ones, and the runtime's own
KNOWN = frozenset(("c", "c0", "B", "S", "U", "N", "main", "__class__"))
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["__import__('os')", "k0", "t1", "D_f1", "S", "'''", '"', "\\", "\n", "{}", "None", "lambda: 0", "x=1"]
    ),
)


def generated(text: str) -> ast.Module:
    coder = Coder(BUILTINS, Limits(), frozenset())
    coder.main(parse(text))
    return coder.out.build()


def names(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        assert not isinstance(node, ast.Import | ast.ImportFrom | ast.Global | ast.ClassDef | ast.Lambda | ast.Await)
        if isinstance(node, ast.Attribute):
            assert node.attr in ATTRIBUTES
    return found


ATTRIBUTES = frozenset(
    [
        "get",
        "__class__",
        "append",
        "join",
        "extend",
        "run",
        "arity",
        "signature",
        "left",
        "depth",
        "tick",
        "turns",
        "cells",
        "charge",
        "deep",
        "scope",
    ]
)


def allowed(name: str) -> bool:
    from dovetail.mapping.codegen.coder import ENVIRONMENT

    numbered = name[0] in "tvxfglui" and name[1:].isdigit()
    return numbered or name in KNOWN or name in ENVIRONMENT or name in ENVIRONMENT["__builtins__"]


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS)
def test_texts_and_names_only_become_constants(one: str, two: str) -> None:
    string = json.dumps(one)
    name = "`" + two.replace("`", "") + "`"
    variable = "$" + "".join(letter for letter in two if letter.isalnum() or letter == "_")
    for text in (
        string,
        name,
        variable,
        f"{{{string}: {name}}}",
        f"a[{name} = {string}].{name}",
        f"({variable} := {string}; {variable})",
        f"a@$v.{name}#$i.{{{string}: $i}}",
        f"$f := function({variable}){{ {name} & {string} }}",
        f"$lookup({name}, {string})",
        f"a^({name})",
        f"$ ~> |{name}|{{{string}: 1}}, {string}|",
        f"{name}{{{string}: {variable}}}",
    ):
        try:
            tree = generated(text)
        except MappingError:
            continue
        assert all(map(allowed, names(tree))), (text, [each for each in names(tree) if not allowed(each)])


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_a_text_is_its_own_value(one: str) -> None:
    whole = one.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert compile(json.dumps(one)).evaluate({}) == whole
    name = one.replace("`", "")
    assert compile(f"`{name}`").evaluate({name: 7}) == 7


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="abk01$`'\"\\.[]{}(),@#;:?+-*/%|=<>^&!~ \n", max_size=40))
def test_any_text_compiles_or_is_refused_with_a_place(text: str) -> None:
    try:
        expression = compile(text, limits=Limits(seconds=0.5))
        expression.evaluate({"a": 1, "b": [1, 2]})
    except MappingError as error:
        assert error.line is not None
        assert error.column is not None
        assert error.message


def test_generated_code_is_inspected_at_all() -> None:
    assert "t1" in names(generated("a.b"))
