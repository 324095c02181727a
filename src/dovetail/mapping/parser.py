"""Tokens → tree, by operator precedence (Pratt). `resolve` then turns the raw tree into paths with steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import MappingError
from .lexer import Lexer
from .limits import Limits, spend
from .nodes import Node
from .resolve import Resolver
from .signature import Signature

#: how tightly an operator holds its left side; 0 ends an expression
BINDING = {
    ".": 75, "[": 80, "{": 70, "(": 80, "@": 80, "#": 80, "?": 20, "+": 50, "-": 50, "*": 60, "/": 60, "%": 60,
    "=": 40, "<": 40, ">": 40, "^": 40, ":=": 10, "!=": 40, "<=": 40, ">=": 40, "~>": 40, "?:": 40, "??": 40,
    "and": 30, "or": 25, "in": 40, "&": 50,
}  # fmt: skip
SYMBOLS = frozenset(BINDING) | frozenset(("]", "}", ")", ",", ";", ":", "..", "**", "|"))
PLAIN = frozenset((".", "+", "-", "*", "/", "%", "=", "<", ">", "!=", "<=", ">=", "&", "and", "or", "in", "~>"))
DEEPEST = 100
#: tokens that a regular expression counts for, apart from its length
REGEX = 20

Led = Callable[["Parser", Node, Node], Node]
Nud = Callable[["Parser", Node], Node]


class Parser:
    """Parses one expression. `token` is the one ahead; its `type` is `(end)` behind the last."""

    def __init__(self, text: str, tokens: int) -> None:
        self.text = text
        self.tokens = self.left = tokens
        self.lexer = Lexer(text)
        self.nesting = 0
        self.token = Node("(end)")
        self.advance()

    def advance(self, expected: str | None = None, infix: bool = False) -> Node:
        """Step to the next token, after checking that the one ahead is `expected`."""
        ahead = self.token
        if expected is not None and not self.at(expected):
            code = "S0203" if ahead.type == "(end)" else "S0202"
            raise fault(code, ahead, token=printed(ahead), value=expected)
        found = self.lexer.next(infix)
        if found is None:
            self.token = Node("(end)", "(end)", len(self.text), len(self.text))
        else:
            kind, value, position, start = found
            self.token = Node(kind, value, position, start)
            cost = REGEX + len(value[0]) // 4 if kind == "regex" else 1
            spend(cost)
            self.left -= cost
            if self.left < 0:
                raise fault("S0503", self.token, value=self.tokens)
            if kind == "operator" and value not in SYMBOLS:
                raise fault("S0204", self.token, token=value)
        return self.token

    def at(self, symbol: str) -> bool:
        """Whether the token ahead is this operator."""
        return self.token.type == "operator" and bool(self.token.value == symbol)

    def binding(self) -> int:
        return BINDING.get(self.token.value, 0) if self.token.type == "operator" else 0

    def expression(self, power: int) -> Node:
        """Parse as long as operators hold tighter than `power`."""
        self.nesting += 1
        if self.nesting > DEEPEST:
            raise fault("S0501", self.token)
        head = self.token
        self.advance(infix=True)
        left = self.prefix(head)
        while power < self.binding():
            head = self.token
            self.advance()
            left = LEDS.get(head.value, binary)(self, head, left)
        self.nesting -= 1
        return left

    def prefix(self, head: Node) -> Node:
        if head.type != "operator" or head.value in ("and", "or", "in"):
            return head
        nud = NUDS.get(head.value)
        if nud is None:
            raise fault("S0211", head, token=head.value)
        return nud(self, head)


def fault(code: str, node: Node, **details: Any) -> MappingError:
    return MappingError(code, position=node.position, start=node.start, **details)


def printed(node: Node) -> str:
    return node.value if isinstance(node.value, str) else str(node.value)


def binary(parser: Parser, node: Node, left: Node) -> Node:
    node.type = "binary"
    node.lhs = left
    node.rhs = parser.expression(BINDING[node.value])
    return node


def minus(parser: Parser, node: Node) -> Node:
    node.type = "unary"
    node.expression = parser.expression(70)
    return node


def terminal(kind: str) -> Nud:
    def nud(parser: Parser, node: Node) -> Node:
        node.type = kind
        return node

    return nud


def block(parser: Parser, node: Node) -> Node:
    while not parser.at(")"):
        node.expressions.append(parser.expression(0))
        if not parser.at(";"):
            break
        parser.advance(";")
    parser.advance(")", True)
    node.type = "block"
    return node


def array(parser: Parser, node: Node) -> Node:
    if not parser.at("]"):
        while True:
            item = parser.expression(0)
            if parser.at(".."):
                spread = Node("binary", "..", parser.token.position, parser.token.start)
                spread.lhs = item
                parser.advance("..")
                spread.rhs = parser.expression(0)
                item = spread
            node.expressions.append(item)
            if not parser.at(","):
                break
            parser.advance(",")
    parser.advance("]", True)
    node.type = "unary"
    return node


def pairs(parser: Parser) -> list[tuple[Node, Node]]:
    found: list[tuple[Node, Node]] = []
    if not parser.at("}"):
        while True:
            key = parser.expression(0)
            parser.advance(":")
            found.append((key, parser.expression(0)))
            if not parser.at(","):
                break
            parser.advance(",")
    parser.advance("}", True)
    return found


def construct(parser: Parser, node: Node) -> Node:
    node.type = "unary"
    node.pairs = pairs(parser)
    return node


def group(parser: Parser, node: Node, left: Node) -> Node:
    node.type = "binary"
    node.lhs = left
    node.pairs = pairs(parser)
    return node


def transform(parser: Parser, node: Node) -> Node:
    node.type = "transform"
    node.pattern = parser.expression(0)
    parser.advance("|")
    node.update = parser.expression(0)
    if parser.at(","):
        parser.advance(",")
        node.delete = parser.expression(0)
    parser.advance("|")
    return node


def invoke(parser: Parser, node: Node, left: Node) -> Node:
    node.procedure = left
    node.type = "function"
    if not parser.at(")"):
        while True:
            if parser.at("?"):
                node.type = "partial"
                parser.token.type = "hole"
                node.arguments.append(parser.token)
                parser.advance()
            else:
                node.arguments.append(parser.expression(0))
            if not parser.at(","):
                break
            parser.advance(",")
    parser.advance(")", True)
    if left.type == "name" and left.value in ("function", "λ"):
        define(parser, node)
    return node


def define(parser: Parser, node: Node) -> None:
    """The rest of a lambda: its signature and body."""
    for number, parameter in enumerate(node.arguments):
        if parameter.type != "variable":
            raise fault("S0208", parameter, token=printed(parameter), value=number + 1)
    node.type = "lambda"
    if parser.at("<"):
        node.signature = signature(parser)
    parser.advance("{")
    node.body = parser.expression(0)
    parser.advance("}")


def signature(parser: Parser) -> Signature:
    opening = parser.token
    depth = 1
    text = "<"
    while depth > 0 and not parser.at("{") and parser.token.type != "(end)":
        token = parser.advance()
        if parser.at(">"):
            depth -= 1
        elif parser.at("<"):
            depth += 1
        text += printed(token)
    parser.advance(">")
    try:
        return Signature(text)
    except MappingError as error:
        error.position = error.start = opening.position + (error.position or 0)
        raise


def predicate(parser: Parser, node: Node, left: Node) -> Node:
    if parser.at("]"):
        step = left
        while step.type == "binary" and step.value == "[":
            step = step.lhs
        step.keep_array = True
        parser.advance("]")
        return left
    node.type = "binary"
    node.lhs = left
    node.rhs = parser.expression(0)
    parser.advance("]", True)
    return node


def order(parser: Parser, node: Node, left: Node) -> Node:
    parser.advance("(")
    while True:
        term = Node("term", None, parser.token.position, parser.token.start)
        if parser.at("<"):
            parser.advance("<")
        elif parser.at(">"):
            term.descending = True
            parser.advance(">")
        term.expression = parser.expression(0)
        node.terms.append(term)
        if not parser.at(","):
            break
        parser.advance(",")
    parser.advance(")")
    node.type = "binary"
    node.lhs = left
    return node


def assign(parser: Parser, node: Node, left: Node) -> Node:
    if left.type != "variable":
        raise fault("S0212", left, token=printed(left))
    node.type = "binary"
    node.lhs = left
    node.rhs = parser.expression(BINDING[":="] - 1)
    return node


def bound(parser: Parser, node: Node, left: Node) -> Node:
    node.type = "binary"
    node.lhs = left
    node.rhs = parser.expression(80)
    if node.rhs.type != "variable":
        raise fault("S0214", node.rhs, token=node.value)
    return node


def ternary(parser: Parser, node: Node, left: Node) -> Node:
    node.type = "condition"
    node.condition = left
    node.then = parser.expression(0)
    if parser.at(":"):
        parser.advance(":")
        node.otherwise = parser.expression(0)
    return node


def fallback(parser: Parser, node: Node, left: Node) -> Node:
    """`a ?: b` and `a ?? b`: the left side if it is true, or if it is there."""
    node.type = "condition"
    node.then = left
    node.otherwise = parser.expression(0)
    return node


NUDS: dict[str, Nud] = {
    "-": minus, "*": terminal("wildcard"), "**": terminal("descendant"), "%": terminal("parent"),
    "(": block, "[": array, "{": construct, "|": transform,
}  # fmt: skip
LEDS: dict[str, Led] = {
    "(": invoke, "[": predicate, "{": group, "^": order, ":=": assign, "@": bound, "#": bound,
    "?": ternary, "?:": fallback, "??": fallback,
}  # fmt: skip


def shallow(tree: Node) -> None:
    """Refuse a tree deeper than the stages behind can follow; chains of `.` and `&` are walked, not descended."""
    stack = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > DEEPEST:
            raise fault("S0501", node)
        for child in node.children():
            chained = child is node.lhs and node.value in (".", "&") and child.value == node.value
            stack.append((child, depth if chained else depth + 1))


def parse(text: str, tokens: int = Limits.tokens) -> Node:
    """The tree of an expression of at most so many tokens. Raises MappingError (S....) with the place of the fault."""
    try:
        parser = Parser(text, tokens)
        tree = parser.expression(0)
        if parser.token.type != "(end)":
            raise fault("S0201", parser.token, token=printed(parser.token))
        shallow(tree)
        return Resolver().run(tree)
    except MappingError as error:
        error.locate(text, error.position or 0, error.position or 0, None)
        raise
