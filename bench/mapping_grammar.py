"""Random expressions and data for the differential fuzz: mostly well-formed, mostly of the right types."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

KEYNAMES = ['"a"', '"b"', "name"]
KEYS = ["a", "b", "c", "d", "e", "list", "name", "price", "qty"]
STRINGS = ["", "x", "abc", "hello world", "a-b-c", "12", "3.5", "été", "ü ok", "A", "2020-02-03", "MCMXCIX"]
NUMBERS = ["0", "1", "2", "3", "-1", "10", "0.5", "2.5", "-2.5", "1e3", "123.456", "1e-7", "99999"]
REGEXES = ["/a/", "/[a-c]+/", "/(b)(c)?/", "/\\\\d+/", "/^h/i", "/x*/", "/\\\\s/", "/(?:o|l)+/", "/[^a-z]/", "/b|c/m"]
QUOTED = ['"-"', '"b"', '""', '" "', '"ab"', '"#"']
PUTS = ['"Z"', '"$1"', '"[$0]"', '"$$"', '"$2x"']
SUFFIXES = ["$count()", "$sum()", "$string", "$uppercase ~> $lowercase", "$append(1)", "$keys()", "$distinct"]
PICTURES = ["0", "#,##0.00", "00.0#", "0.0e0", "#0%", "(0)", "000", "0;-0", ".00", "#", "1,234.5", "0‰", "##0.0x"]
INTEGERS = ["0", "000", "w", "W", "Ww", "I", "i", "A", "a", "#,##0", "w;o", "0;o", "1,1,1", "#'##0", "٠٠"]
DATES = [
    "[Y]-[M01]-[D01]",
    "[Y0001]-[M01]-[D01]T[H01]:[m01]:[s01]",
    "[D1o] [MNn] [Y]",
    "[FNn], [D] [MN,3-3] [Y0001]",
    "[h]:[m] [P]",
    "[W]/[X]",
    "[w] [x]",
    "[d]",
    "[H01][m01]",
    "[Z]",
    "[z]",
    "[Y,2-2]",
    "[f001]",
    "[Q]",
    "[D",
    "[F0]",
    "[YI]",
    "[Dwo]",
    "[[x]] [Y]",
]
STAMPS = ["0", "1510067557121", "-86400000", "951782400000", "1583020800000", "4102444799999", "1104537600000"]


class Grammar:
    """Draws expressions. Depth runs out; scalars and names end it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.variables: list[str] = []
        self.functions: list[tuple[str, int]] = []

    def pick(self, options: list[Any]) -> Any:
        return self.dice.choice(options)

    # data

    def data(self, depth: int = 3) -> Any:
        roll = self.dice.random()
        if depth == 0 or roll < 0.1:
            return self.scalar()
        if roll < 0.62 or depth == 3:
            return {key: self.data(depth - 1) for key in self.dice.sample(KEYS, self.dice.randint(0, 5))}
        if roll < 0.75:
            keys = self.dice.sample(KEYS, 3)
            return [{key: self.scalar() for key in keys} for _ in range(self.dice.randint(0, 4))]
        return [self.data(depth - 1) for _ in range(self.dice.randint(0, 4))]

    def scalar(self) -> Any:
        roll = self.dice.random()
        if roll < 0.45:
            return self.pick([0, 1, 2, 3, 5, 10, -4, 2.5, 0.1, 1e12, 100000])
        if roll < 0.85:
            return self.pick(STRINGS)
        return self.pick([True, False, None, []])

    # expressions

    def expression(self) -> str:
        self.variables, self.functions = [], []
        return self.any(self.dice.randint(1, 4))

    def any(self, depth: int) -> str:
        if depth <= 0:
            return self.leaf()
        kinds: list[tuple[int, Callable[[int], str]]] = [
            (10, self.path),
            (6, self.number),
            (6, self.text),
            (5, self.boolean),
            (4, self.array),
            (4, self.object),
            (4, self.block),
            (3, self.condition),
            (5, self.call),
            (3, self.higher),
            (2, self.sort),
            (2, self.group),
            (1, self.chain),
            (1, self.partial),
            (1, self.transform),
            (2, self.join),
            (1, self.parent),
            (1, self.apply),
            (2, self.filtered),
            (1, self.fallback),
            (1, self.odd),
            (2, self.dates),
            (2, self.pictures),
            (1, self.lambda_),
        ]
        make = self.dice.choices([one for _, one in kinds], [weight for weight, _ in kinds])[0]
        return make(depth - 1)

    def leaf(self) -> str:
        roll = self.dice.random()
        if roll < 0.45:
            return self.pick(KEYS)
        if roll < 0.6:
            return self.pick(NUMBERS)
        if roll < 0.75:
            return json.dumps(self.pick(STRINGS), ensure_ascii=False)
        if roll < 0.85 and self.variables:
            return "$" + self.pick(self.variables)
        return self.pick(["$", "$$", "true", "false", "null", "*", "[]", "{}", "missing", "**", "`a`"])

    def path(self, depth: int) -> str:
        steps = [self.pick([*KEYS, *KEYS, "$", "*", "$$", "**", *("$" + one for one in self.variables)])]
        for _ in range(self.dice.randint(0, 3)):
            roll = self.dice.random()
            if roll < 0.7:
                steps.append(self.pick(KEYS))
            elif roll < 0.8:
                steps.append(f"({self.any(depth - 1)})")
            elif roll < 0.88:
                steps.append(self.object(depth - 1))
            elif roll < 0.94:
                steps.append(self.array(depth - 1))
            else:
                steps.append(self.pick(["*", "$", "**", '"a"', "$string()", "$keys()", "$count($)"]))
        return ".".join(step + self.suffix(depth) for step in steps)

    def suffix(self, depth: int) -> str:
        roll = self.dice.random()
        if roll < 0.72:
            return ""
        if roll < 0.8:
            return f"[{self.pick(['0', '1', '-1', '2', '-2', '0.9'])}]"
        if roll < 0.86:
            return "[]"
        if roll < 0.96:
            return f"[{self.boolean(depth - 1)}]"
        return f"[{self.any(depth - 1)}]"

    def filtered(self, depth: int) -> str:
        return f"({self.any(depth)}){self.suffix(depth)}{self.suffix(depth)}"

    def number(self, depth: int) -> str:
        roll = self.dice.random()
        if depth <= 0 or roll < 0.2:
            return self.pick([*NUMBERS, "price", "qty", "a"])
        if roll < 0.7:
            return f"{self.number(depth - 1)} {self.pick(['+', '-', '*', '/', '%'])} {self.number(depth - 1)}"
        if roll < 0.78:
            return f"(-{self.path(depth - 1)})"
        name = self.pick(
            ["sum", "count", "max", "min", "average", "abs", "floor", "ceil", "round", "sqrt", "number", "length"]
        )
        return f"${name}({self.any(depth - 1)})"

    def text(self, depth: int) -> str:
        if depth <= 0 or self.dice.random() < 0.2:
            return self.pick([json.dumps(self.pick(STRINGS), ensure_ascii=False), "name", "b"])
        if self.dice.random() < 0.4:
            return f"{self.any(depth - 1)} & {self.any(depth - 1)}"
        return self.string_call(depth)

    def string_call(self, depth: int) -> str:
        text, other = self.text(depth - 1), self.any(depth - 1)
        number, length = self.pick(["0", "1", "2", "-2", "5", "2.5"]), self.pick(["1", "3", "0", "-1"])
        quoted, regex, put, base = (
            self.pick(QUOTED),
            self.pick(REGEXES),
            self.pick(PUTS),
            self.pick(["2", "16", "36", "1"]),
        )
        pattern = self.pick([quoted, regex])
        return self.pick(
            [
                f"$uppercase({text})",
                f"$lowercase({text})",
                f"$trim({text})",
                f"$string({other})",
                f"$substring({text}, {number})",
                f"$substring({text}, {number}, {length})",
                f"$substringBefore({text}, {quoted})",
                f"$substringAfter({text}, {quoted})",
                f"$pad({text}, {number}, {quoted})",
                f"$split({text}, {pattern})",
                f"$split({text}, {pattern}, {number})",
                f"$join({other}, {quoted})",
                f"$join({self.array(depth - 1)})",
                f"$replace({text}, {pattern}, {put})",
                f"$replace({text}, {pattern}, {put}, {number})",
                f"$match({text}, {regex})",
                f"$match({text}, {regex}, {number})",
                f"$contains({text}, {pattern})",
                f"$base64encode({text})",
                f"$encodeUrlComponent({text})",
                f"$encodeUrl({text})",
                f"$decodeUrlComponent($encodeUrl({text}))",
                f"$base64decode($base64encode({text}))",
                f"$length({text})",
                f"$formatBase({self.pick(NUMBERS)}, {base})",
                f"$string({other}, true)",
                f"$number({text})",
                f"$eval({json.dumps(self.number(1))})",
                f"$replace({text}, {regex}, $uppercase)",
                f"$replace({text}, {regex}, function($m) {{ $m.match & $m.start }})",
            ]
        )

    def dates(self, depth: int) -> str:
        stamp = self.pick([*STAMPS, "a"])
        zone = self.pick(["", ', "+0530"', ', "-0100"', ', "0000"'])
        picture = json.dumps(self.pick(DATES))
        odd = json.dumps(self.pick(["2020-02-29", "2021-03-04", "2021", "x", "2021-03-04T10:20:30+02:00"]))
        return self.pick(
            [
                f"$fromMillis({stamp}, {picture}{zone})",
                f"$fromMillis({stamp})",
                f"$toMillis($fromMillis({stamp}, {picture}), {picture})" if "Y" in picture else "1",
                f"$toMillis({odd})",
                f"$toMillis($fromMillis({stamp}))",
            ]
        )

    def pictures(self, depth: int) -> str:
        number = self.pick([*NUMBERS, "1234567.891", "-0.5", "5e-5", "1e12"])
        whole = self.pick(["0", "1", "5", "12", "21", "113", "1999", "1000000", "2e9", "4.7"])
        integer = json.dumps(self.pick(INTEGERS), ensure_ascii=False)
        picture = json.dumps(self.pick(PICTURES), ensure_ascii=False)
        return self.pick(
            [
                f"$formatNumber({number}, {picture})",
                f"$formatInteger({whole}, {integer})",
                f"$parseInteger($formatInteger({whole}, {integer}), {integer})",
                f"$round({number}, {self.pick(['0', '1', '2', '-1', '3'])})",
                f"$power({number}, {self.pick(['2', '0.5', '-1'])})",
            ]
        )

    def boolean(self, depth: int) -> str:
        if depth <= 0:
            return self.pick(
                ["a = 1", "b > 2", "true", "price < 10", 'name = "abc"', "$ = 1", "a", "qty >= 1", "$exists(a)"]
            )
        roll = self.dice.random()
        if roll < 0.35:
            return f"{self.any(depth - 1)} {self.pick(['=', '!='])} {self.any(depth - 1)}"
        if roll < 0.55:
            return f"{self.number(depth - 1)} {self.pick(['<', '<=', '>', '>='])} {self.number(depth - 1)}"
        if roll < 0.75:
            return f"{self.boolean(depth - 1)} {self.pick(['and', 'or'])} {self.boolean(depth - 1)}"
        if roll < 0.85:
            return f"{self.leaf()} in {self.array(depth - 1)}"
        return f"{self.pick(['$not', '$boolean', '$exists'])}({self.any(depth - 1)})"

    def array(self, depth: int) -> str:
        if self.dice.random() < 0.2:
            return f"[{self.pick(['1', '0', '-2', 'a'])}..{self.pick(['3', '5', '0', 'qty'])}]"
        return "[" + ", ".join(self.any(depth - 1) for _ in range(self.dice.randint(0, 3))) + "]"

    def object(self, depth: int) -> str:
        keys = self.dice.sample(['"x"', '"y"', '"a"', '"b"', "name", '("k" & $string(a))'], self.dice.randint(0, 3))
        return "{" + ", ".join(f"{key}: {self.any(depth - 1)}" for key in keys) + "}"

    def group(self, depth: int) -> str:
        key = self.pick(["name", '("k" & $string(a))', '"k"', "b", '("k" & $string($))'])
        more = self.pick(["", "", ', "z": $count($)'])
        return f"{self.path(depth - 1)}{{{key}: {self.any(depth - 1)}{more}}}"

    def block(self, depth: int) -> str:
        before, functions = list(self.variables), list(self.functions)
        parts = []
        for _ in range(self.dice.randint(0, 2)):
            name = self.pick(["u", "v", "w"])
            if self.dice.random() < 0.25:
                count = self.dice.randint(0, 2)
                parts.append(f"$f{count} := {self.function(depth - 1, count)}")
                self.functions.append((f"f{count}", count))
            else:
                parts.append(f"${name} := {self.any(depth - 1)}")
                self.variables.append(name)
        if self.functions and self.dice.random() < 0.7:
            name, count = self.pick(self.functions)
            parts.append(f"${name}({', '.join(self.any(depth - 1) for _ in range(count))})")
        else:
            parts.append(self.any(depth - 1))
        self.variables, self.functions = before, functions
        return f"({'; '.join(parts)})"

    def function(self, depth: int, count: int) -> str:
        names = self.dice.sample(["p", "q", "u"], count)
        before = list(self.variables)
        self.variables += names
        body = self.any(depth - 1)
        self.variables = before
        if body.startswith("(") and not body.endswith(")"):
            # the reference filters the call itself when a body that is a block has a predicate
            body = f"[{body}]"
        return f"function({', '.join('$' + one for one in names)}){{ {body} }}"

    def lambda_(self, depth: int) -> str:
        count = self.dice.randint(0, 3)
        return (
            f"{self.function(depth, count)}({', '.join(self.any(depth - 1) for _ in range(self.dice.randint(0, 3)))})"
        )

    def higher(self, depth: int) -> str:
        items = self.pick([self.path(depth - 1), self.array(depth - 1), self.any(depth - 1)])
        one = self.function(depth - 1, self.dice.randint(1, 3))
        native = "$" + self.pick(["string", "uppercase", "sum", "type", "not", "length"])
        return self.pick(
            [
                f"$map({items}, {one})",
                f"$filter({items}, {one})",
                f"$reduce({items}, {self.function(depth - 1, 2)})",
                f"$reduce({items}, {self.function(depth - 1, 3)}, {self.leaf()})",
                f"$each({items}, {one})",
                f"$sift({items}, {one})",
                f"$single({items}, {one})",
                f"$map({items}, {native})",
                f"$sort({items}, function($l, $r){{ $l > $r }})",
            ]
        )

    def call(self, depth: int) -> str:
        name = self.pick(
            [
                "count",
                "keys",
                "spread",
                "merge",
                "reverse",
                "sort",
                "distinct",
                "type",
                "exists",
                "boolean",
                "not",
                "sum",
                "string",
                "length",
                "max",
                "min",
                "average",
                "shuffleless",
                "clone",
                "zip",
                "append",
                "lookup",
                "number",
            ]
        )
        if name == "zip":
            return f"$zip({', '.join(self.any(depth - 1) for _ in range(self.dice.randint(1, 3)))})"
        if name == "append":
            return f"$append({self.any(depth - 1)}, {self.any(depth - 1)})"
        if name == "lookup":
            return f"$lookup({self.any(depth - 1)}, {self.pick(KEYNAMES)})"
        count = 1 if self.dice.random() < 0.9 else self.dice.randint(0, 3)
        return f"${name}({', '.join(self.any(depth - 1) for _ in range(count))})"

    def condition(self, depth: int) -> str:
        tail = f" : {self.any(depth - 1)}" if self.dice.random() < 0.8 else ""
        return f"({self.boolean(depth - 1)} ? {self.any(depth - 1)}{tail})"

    def fallback(self, depth: int) -> str:
        return f"({self.any(depth - 1)} {self.pick(['??', '?:'])} {self.any(depth - 1)})"

    def sort(self, depth: int) -> str:
        term = self.pick(["a", "b", "price", "$", ">a", "<name", ">qty, b", "a, >b"])
        return f"{self.path(depth - 1)}^({term}){self.suffix(depth)}"

    def chain(self, depth: int) -> str:
        return f"{self.path(depth - 1)} ~> {self.pick(SUFFIXES)}"

    def apply(self, depth: int) -> str:
        return f"({self.any(depth - 1)} ~> {self.function(depth - 1, 1)})"

    def partial(self, depth: int) -> str:
        return self.pick(
            [
                f"$substring(?, {self.pick(['0', '1'])}, 2)({json.dumps(self.pick(STRINGS))})",
                f"$map({self.array(depth - 1)}, $append(?, 1))",
                f"(function($p, $q){{ $p & $q }})(?, {self.leaf()})({self.any(depth - 1)})",
            ]
        )

    def transform(self, depth: int) -> str:
        target = self.pick(["$", "a", "list", "b.c", "*", "**[a]"])
        delete = self.pick(["", ', "a"', ', ["b", "c"]', ", name"])
        return f"{self.pick(['$', 'a', self.path(0)])} ~> |{target}|{self.object(depth - 1)}{delete}|"

    def join(self, depth: int) -> str:
        return self.pick(
            [
                f'{self.pick(KEYS)}#$i.{{"i": $i, "v": {self.any(depth - 1)}}}',
                f'{self.path(0)}@$o.{self.pick(KEYS)}@$l[{self.boolean(0)}].{{"o": $o, "l": $l.{self.pick(KEYS)}}}',
                f"{self.pick(KEYS)}@$o.$o.{self.pick(KEYS)}",
                f"{self.path(0)}#$i[$i < 2]",
                f"$#$i[{self.boolean(0)}].($i & $)",
                f"{self.pick(KEYS)}#$i^({self.pick(['a', '>b', '$i'])}).$i",
                f"({self.path(0)})#$i.[$i, $]",
                f'{self.pick(KEYS)}@$o#$i.{{"o": $o, "i": $i}}',
                f"{self.pick(KEYS)}@$o.(list@$l[$l.a = $o.a]).[$o.b, $l.b]",
            ]
        )

    def parent(self, depth: int) -> str:
        one, two, three = self.pick(KEYS), self.pick(KEYS), self.pick(KEYS)
        return self.pick(
            [
                f"{one}.{two}.%.{three}",
                f'{one}.{two}.{{"p": %.{three}, "s": $}}',
                f"{one}.{two}[%.{three} = 1]",
                f"{one}.{two}.(%.{three})",
                f"{one}.{two}.{three}.%.%.{one}",
                f'{one}.*.{{"p": %.{three}}}',
                f"({one}.{two}).%.{three}",
                f"{one}.{two}^(%.{three})",
                f"{one}.{two}.%[{three}]",
                f'{one}.{two}{{"k": %.{three}}}',
                f"{one}.{two}.[%.{three}]",
            ]
        )

    def odd(self, depth: int) -> str:
        """Badly formed or unusual."""
        return self.pick(
            [
                f"{self.any(depth - 1)} {self.pick(['+', '.', '&', '..', ':=', 'in', '??', '@', '#'])} ",
                f"({self.any(depth - 1)}",
                f"$x.y{self.suffix(depth)}",
                f"{self.leaf()}.{self.leaf()}.{self.leaf()}",
                f"{self.any(depth - 1)}[{self.any(depth - 1)}",
                "a(1)",
                "$nope(1)",
                f"$error({self.text(0)})",
                f"$assert({self.boolean(0)}, {self.text(0)})",
                f"{self.leaf()} ~> {self.leaf()}",
                "1()",
                "a.%",
                "%",
            ]
        )
