"""Runs the hostile corpus in a process of its own, with little memory and with every touch of the host forbidden.

Prints one JSON object: how many expressions ran, how they ended, what went wrong, and which ran too long. Time is the
CPU time of this thread, held against the limit that was given and against units measured in this process.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

from hostile_slow import slow

from dovetail.mapping import UNDEFINED, Limits, MappingError, compile

LIMITS = Limits(seconds=0.2, depth=200, tokens=4000)
#: how far an evaluation may go beyond its limit, and compiling beyond a plain mapping of as many tokens
OVER = 1.5
DEARER = 3.0
#: an expression that was too slow is tried again, as the machine may have been busy with something else
TRIES = 3
DATA = {
    "a": 1,
    "b": "text",
    "list": list(range(200)),
    "items": [{"k": i % 7, "v": "x" * 20} for i in range(200)],
    "deep": None,
    "__class__": "field",
    "text": "a" * 20000,
}
deep: Any = {}
DATA["deep"] = deep
for _ in range(60):
    deep["d"] = {}
    deep = deep["d"]

#: attribute walks and names of the host: all of them are plain field names here
WALKS = [
    "__class__",
    "__class__.__mro__",
    "a.__class__",
    "$.__class__.__bases__[0].__subclasses__()",
    "b.__init__.__globals__",
    "`__import__`('os')",
    "__import__('os').system('id')",
    "$__import__('os')",
    "$eval('__import__(\"os\")')",
    "$open('/etc/passwd')",
    "open('/etc/passwd')",
    "$exec('1')",
    "exec('import os')",
    "$$.__dict__",
    "$.constructor.constructor('return 1')()",
    "$string.__globals__",
    "($f := $string; $f.run)",
    "$map.__code__",
    "function(){ $ }.__globals__",
    "(/a/).engine",
    "$lookup($$, '__class__')",
    "$lookup($string, 'run')",
    "$keys($string)",
    "$spread($string)",
    "$string($string)",
    "$sift($$, function($v, $k){ $k = '__class__' })",
    "{'__class__': 1}.__class__",
    "{'__proto__': {'x': 1}}.x",
    "$merge([{'__proto__': {'p': 1}}]).p",
    "$ ~> |$|{'__class__': 'x'}|",
    "$globals",
    "$locals()",
    "$S",
    "$B",
    "$U",
    "$N",
    "$c",
    "$t1",
    "$k0",
    "$g0",
    "$main",
    "main",
    "S.limits",
    "$S.limits",
    "`S`.limits",
    "k0",
    "g0.run",
    "D_f1",
    "`D_f1`",
    "$`a`",
    "$_jsonata_lambda",
    "{'_jsonata_lambda': true}()",
    "$environment",
    "$process.env",
    "$require('fs')",
]
#: strings that would break out of quotes, comments and lines, as values, names and variables
BREAKS = [
    "'",
    '"',
    "\\\\",
    "\\n",
    "'''",
    '\\"\\"\\"',
    "');import os;('",
    "{0.__class__}",
    "%s%n",
    "${x}",
    "#",
    "\\u0000",
    "\\u2028",
    "\\ud800",
    "k0",
    "D_f1",
]
#: far too much of something
BOMBS = [
    "[1..1e7][[1..1e7]]",
    "[1..1e8]",
    "[-1e15..1e15]",
    "[1..1e7].[1..1e7]",
    "[[1..5e6],[1..5e6],[1..5e6],[1..5e6]]",
    "$pad('x', 2e9)",
    "$pad('x', -2e9)",
    "$pad('x', 1e300)",
    "$pad('x', 1e7, 'ab')",
    "[1..1000].$pad('x', 1e6)",
    "$join([1..1e6].$string(), $pad('', 1000, 'x'))",
    "$join($split($pad('', 1e6, 'x'), ''), $pad('', 1e5, 'y'))",
    "$replace($pad('', 1e6, 'a'), 'a', $pad('', 1e5, 'b'))",
    "$replace($pad('', 1e6, 'a'), /a/, $pad('', 1e5, 'b'))",
    "$replace($pad('', 1e5, 'a'), /a/, function($m){ $pad('', 1e5, 'b') })",
    "($f := function($s, $n){ $n = 0 ? $s : $f($s & $s, $n - 1) }; $f('x', 60))",
    "($f := function($s){ $f($s & $s) }; $f('x'))",
    "($f := function($s){ $f($append($s, $s)) }; $f([1]))",
    "($f := function(){ $f() }; $f())",
    "($f := function($n){ 1 + $f($n) }; $f(1))",
    "($f := function($n){ $f($n) & $f($n) }; $f(1))",
    "($f := function($x){ $map($x, $f) }; $f([1]))",
    "($f := function($x){ $f([$x, $x]) }; $f(1))",
    "($f := function($x){ $f({'a': $x, 'b': $x}) }; $length($f(1)))",
    "($y := function($f){ $f($f) }; $y($y))",
    "($y := function($f){ [$f($f)] }; $y($y))",
    "($a := function(){ $b() }; $b := function(){ $a() }; $a())",
    "list.$$.list.$$.list.$$.list.$$.list.$$.list",
    "list.($$.list.($$.list.($$.list.($$.list))))",
    "$$.list@$a.$$.list@$b.$$.list@$c.$$.list@$d.{'a': $a}",
    "items@$x.$$.items@$y.$$.items@$z.$x.k",
    "list#$i.$$.list#$j.$$.list#$k.($i & $j & $k)",
    "$map(list, function($a){ $map(list, function($b){ $map(list, function($c){ $map(list, function(){ 1 }) }) }) })",
    "$reduce([1..1e6], function($a, $b){ $append($a, $b) })",
    "$reduce([1..1e6], function($a, $b){ $a & $b })",
    "$sort([1..1e6], function($a, $b){ true })",
    "$sort([1..2e5], function($a, $b){ $a < $b })",
    "[1..1e6]^(>$)",
    "[1..3e5]^($string($), >$)",
    "$distinct([1..1e5])",
    "$distinct([1..1e5].[$])",
    "$zip([1..1e6], [1..1e6], [1..1e6], [1..1e6], [1..1e6], [1..1e6], [1..1e6])",
    "$reverse([1..1e7])",
    "$shuffle([1..1e7])",
    "$spread({'a': [1..1e6]})",
    "$each($merge([1..1e5].{$string($): $}), function($v){ $v })",
    "$string([1..1e7])",
    "$string([1..1e6], true)",
    "$string($$, true)",
    "$eval($pad('', 1e6, '['))",
    "$eval($pad('', 9e6, '1+'))",
    "$eval('$eval($$.text)')",
    "($e := function($x){ $eval('$e(1)') }; $e(1))",
    "($t := '$eval($t)'; $eval($t))",
    "$formatNumber(1, $pad('', 9e6, '0'))",
    "$formatNumber(1, $pad('', 1e6, '#,'))",
    "$formatInteger(1, $pad('', 9e6, '0'))",
    "$formatInteger(1e300, 'w')",
    "$formatInteger(1e300, 'I')",
    "$formatInteger(1e300, 'A')",
    "$formatInteger(1, '0,' & $pad('', 1e6, '0'))",
    "$formatBase(1e308, 2)",
    "$parseInteger($pad('', 1e6, '9'), '0')",
    "$parseInteger($pad('', 1e6, 'Z'), 'A')",
    "$parseInteger($pad('', 1e6, 'M'), 'I')",
    "$parseInteger($pad('', 1e6, 'one '), 'w')",
    "$number($pad('', 1e6, '9'))",
    "$number('1e999999999')",
    "$number('0x' & $pad('', 1e6, 'f'))",
    "$power(10, 1e9)",
    "$power(2, 1023) * $power(2, 1023)",
    "$fromMillis(1e300)",
    "$fromMillis(0, $pad('', 1e6, '[Y]'))",
    "$fromMillis(0, '[Y,1-' & $pad('', 1e6, '9') & ']')",
    "$fromMillis(0, '[Y' & $pad('', 1e6, '0') & ']')",
    "$toMillis($pad('', 1e6, '1'), $pad('', 1e6, '[Y]'))",
    "$toMillis($pad('', 2000, 'one '), '[Yw][Mw][Dw]')",
    "$toMillis($pad('', 2000, '1'), $pad('', 500, '[Y]'))",
    "$toMillis($pad('', 1900, '-') & 'x', '[Yw]')",
    "$fromMillis(0, '[Z]', $pad('', 1e6, '9'))",
    "$base64encode($pad('', 9e6, 'x'))",
    "[1..100].$base64encode($pad('', 1e6, 'x'))",
    "$encodeUrl($pad('', 9e6, '\\u20ac'))",
    "[1..50].$encodeUrlComponent($pad('', 1e6, ' '))",
    "$split($pad('', 9e6, 'ab'), '')",
    "$split($pad('', 9e6, 'ab'), 'a')",
    "$split($pad('', 2e6, 'ab'), /a/)",
    "$match($pad('', 2e6, 'ab'), /a/)",
    "[1..1e5].$split($pad('', 100, 'ab'), '')",
    "**.**.**.**.**",
    "*.*.*.*",
    "$$.**{$string($): $$.**}",
    "items{$string(k): items{$string(k): items}}",
    "$ ~> |**|{'x': $$}|",
    "($f := function($x, $n){ $n > 0 ? $f($x ~> |$|{'a': $, 'b': $}|, $n - 1) : $x }; $f({}, 40))",
    "($x := [1..1e5]; $x.($x[$ = 1]))",
    "[1..1e5][$ in [1..1e5]]",
    "$lookup([1..1e6].{'a': 1}, 'a')",
    "$filter([1..1e7], function($x){ false })",
    "$single([1..1e7], function($x){ false })",
    "$sift($merge([1..1e5].{$string($): 1}), function(){ false })",
    "[1..1e6].($x := $; function(){ $x })",
    "$count([1..1e7]) + $count([1..1e7]) + $count([1..1e7])",
    "$sum([1..1e7])",
    "$max([1..1e7].(-$))",
    "$average([1..1e7].($ / 3))",
    "($d := function($n){ $n = 0 ? {} : {'a': $d($n - 1)} }; $string($d(5000)))",
    "$trim($pad('', 9e6, ' '))",
    "$uppercase($pad('', 9e6, 'ß'))",
    "[1..1000].$uppercase($pad('', 1e5, 'ß'))",
    "$keys($merge([1..1e6].{$string($): 1}))",
    "$append([1..1e7], [1..1e7])",
    "[1..300].$clone($$)",
    "[1..1e6].$clone($$)",
    "$substring($pad('', 9e6, 'x'), 1e300)",
    "$substring('x', -1e300, 1e300)",
    "[1..1e4].$substringAfter($pad('', 1e5, 'a'), 'b')",
    "$random() ~> $string ~> $length",
    "$assert($error('x'), 'y')",
    "1e308 * 1e308 - 1e308 * 1e308",
    "0/0 & ''",
    "[0/0]",
    "{'x': 1/0}",
]
#: regular expressions that explode on a backtracking engine
REGEXES = [
    "(a+)+b",
    "(a*)*b",
    "(a|a)*b",
    "(a|aa)+b",
    "(.*)*b",
    "(.+)+b",
    "([a-z]+)*b",
    "(a+){20}b",
    "(a*a*a*)*b",
    "a*a*a*a*a*a*b",
    "(?:a+)+b",
    "((a+)+)+b",
    "(\\\\w+\\\\s?)*b",
    "^(a?){50}a{50}$",
    "a{1,1000}{1,1000}",
    "((((a{100}){100}){100}){100})",
    "(a|b|ab)*c",
    "(x+x+)+y",
    "(?=a+)a*b",
    "(?=(a+))\\\\1b",
    "(a)\\\\1*b",
    "(?<!x)(a+)+b",
    "(?=(a|a)*b)a",
    "\\\\b(a+)+\\\\b!",
    ".*.*.*.*.*b",
    "(a?)*?b",
    "(?:(?:a?)?)*b",
    "[a-z]*[a-z]*[a-z]*1",
    "(a{0,500}){0,500}b",
    "(?!(a+)+b)a",
]
#: deep and odd texts
DEEP = [
    "(" * 5000,
    "[" * 5000,
    "{" * 5000,
    "-" * 5000,
    "(" * 400 + "1" + ")" * 400,
    "[" * 400 + "1" + "]" * 400,
    "a." * 5000 + "a",
    "a" + "[0]" * 3000,
    "1" + "+1" * 5000,
    "1" + "&1" * 5000,
    "a" + " ? b : a" * 800,
    "a" + " and a" * 2000,
    "a" + "^(a)" * 500,
    "a" + "{'a':b}" * 3,
    "function(){" * 300 + "1" + "}" * 300,
    "$f(" * 400 + "1" + ")" * 400,
    "/*" * 1000,
    "/* " + "x" * 100000 + " */ 1",
    "'" + "x" * 100000 + "'",
    "`" + "y" * 100000 + "`",
    "$" + "z" * 100000,
    "1" * 5000,
    "1e" + "9" * 100,
    "0." + "1" * 10000,
    "/" + "(" * 500 + "a" + ")" * 500 + "/",
    "/" + "a" * 100000 + "/",
    "/" + "[a]" * 5000 + "/",
    "/(/",
    "/[/",
    "/a{99999}/",
    "/(?P<x>a)/",
    "|" * 2000,
    "a~>" * 1000 + "$b",
    "a ?? " * 1000 + "b",
    "a ?: " * 200 + "b",
    "a@$b" * 500,
    "a#$i" * 500,
    "%." * 500 + "%",
    "a." + "%." * 200 + "b",
    "**" * 2000,
    "*." * 2000 + "*",
    "{" + ",".join(f"'k{i}':{i}" for i in range(5000)) + "}",
    "[" + ",".join(map(str, range(20000))) + "]",
    "(" + ";".join(f"$v{i}:={i}" for i in range(3000)) + ")",
    "function($a" + "".join(f",$a{i}" for i in range(500)) + "){$a}()",
    "$string(" + ",".join("1" * 300) + ")",
    "function($x)<" + "a<" * 200 + "n" + ">" * 200 + ">{$x}(1)",
    "function($x)<(((((>{1}",
    "\u202e1 + 1",
    "\u200b",
    "\ufeff1",
    "\u00a0",
    "a\u0301",
    "$\u0430",
    "\U0001f600.x",
    "\x00",
    "\x1b[31m",
    "'\\ud800' & '\\udc00'",
    "'\\ud800'",
    "$uppercase('\\ud800')",
    "$encodeUrl('\\ud800')",
    "$base64encode('\\ud800')",
    "$string({'\\ud800': '\\udfff'})",
    "$split('\\ud83d\\ude00', '')",
    "$match('\\ud800', /./)",
    "١ + ٢",
    "１+１",
    "ﬀ = 'ff'",
    "$length('\\u0000')",
    "",
    " ",
    ";",
    ")",
    "]",
    "}",
    ",",
    ":",
    ":=",
    "$",
    "$$",
    "$$$",
    "@",
    "#",
    "%",
    "^",
    "&",
    "*",
    "**",
    "|",
    "?",
    "??",
    "?:",
    "~>",
    "..",
    "!",
    "~",
    "'",
    '"',
    "`",
    "\\\\",
    "/",
    "//",
    "/*",
    "/* */",
    "a b",
    "1 2",
]


def corpus() -> list[str]:
    found = [*WALKS, *BOMBS, *DEEP]
    for one in BREAKS:
        found += [
            f"'{one}'" if "'" not in one else f'"{one}"',
            f'{{"{one}": 1}}',
            f"`{one.replace('`', '')}`",
            f'$lookup($$, "{one}")',
        ]
    for one in REGEXES:
        plain = one.replace("\\\\", "\\")
        found += [f"$match(text, /{plain}/)", f"$replace(text, /{plain}/, 'x')", f"$contains(text & '!', /{plain}/)"]
    return found


ALLOWED = (
    "object.__getattr__",
    "sys._getframe",
    "code.__new__",
    "compile",
    "exec",
    "import",
    "builtins.id",
    "marshal.loads",
)
touched: list[str] = []
watching = False


def audit(event: str, args: Any) -> None:
    if watching and not event.startswith(ALLOWED):
        touched.append(f"{event} {args!r}"[:200])


def copying() -> float:
    """CPU seconds to build, copy and free a list as long as one may be: what a single step may take."""
    start = time.thread_time()
    items = list(range(LIMITS.sequence))
    del items[:]
    return time.thread_time() - start


def compiling() -> float:
    """CPU seconds to compile a plain mapping of as many tokens as are allowed."""
    fields = ",".join(f"'k{i}':a.b{i}[c=1].d & $uppercase(x)" for i in range(LIMITS.tokens // 20))
    start = time.thread_time()
    compile("{" + fields + "}", limits=LIMITS)
    return time.thread_time() - start


def attempt(text: str, report: dict[str, Any] | None) -> tuple[float, float]:
    """CPU seconds for compiling and for evaluating; how it ended goes into the report."""
    global watching
    start = between = time.thread_time()
    watching = True
    outcome: tuple[str, str] = ("values", "")
    try:
        expression = compile(text, limits=LIMITS)
        between = time.thread_time()
        value = expression.evaluate(DATA)
        del value
    except MappingError as error:
        outcome = ("errors", error.code)
        if error.line is None or not error.message or (len(str(error)) > 1000 and error.code not in SPOKEN):
            outcome = ("wrong", f"no place or message: {str(error)[:100]}")
    except BaseException as error:
        outcome = ("wrong", f"{type(error).__name__}: {error}"[:200])
    watching = False
    end = time.thread_time()
    if report is not None:
        kind, what = outcome
        if kind == "values":
            report["values"] += 1
        elif kind == "errors":
            report["errors"][what] = report["errors"].get(what, 0) + 1
        else:
            report["wrong"].append([text[:100], what])
    return (between - start, end - between) if between > start else (end - start, 0.0)


#: errors whose message is the expression's own text
SPOKEN = ("D3137", "D3141", "D4002")


def judge(text: str, report: dict[str, Any], step: float, plain: float) -> None:
    """Run one expression; it is late if each of several tries took more than its limit and the allowance."""
    ratio = 0.0
    for turn in range(TRIES):
        compiled, ran = attempt(text, None if turn else report)
        over = max(ran / (LIMITS.seconds * OVER + step), compiled / (plain * DEARER))
        ratio = over if not turn else min(ratio, over)
        if ratio <= 1:
            break
    report["slowest"].append([round(ratio, 2), text[:80]])
    if ratio > 1:
        report["late"].append([round(ratio, 2), text[:200]])


def main() -> None:
    # what is loaded on first use is loaded before the watch begins
    compile("$base64encode('é') & $match('a', /(?=a)a/).index & $toMillis('1', '[Y]')").evaluate(DATA)
    compile("$hmac($hash('a'), 'b') & $encodeUrl('é') & $sort([2, 1]) & $string($decimal('1'))").evaluate(DATA)
    step, plain = copying(), compiling()
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    sys.addaudithook(audit)
    report: dict[str, Any] = {"count": 0, "values": 0, "errors": {}, "wrong": [], "late": [], "slowest": []}
    for text in [*corpus(), *slow()]:
        report["count"] += 1
        judge(text, report, step, plain)
    if DATA["a"] != 1 or len(DATA["list"]) != 200 or UNDEFINED:  # type: ignore[arg-type]
        report["wrong"].append(["", "the input was changed"])
    report["touched"] = touched
    report["slowest"] = sorted(report["slowest"], reverse=True)[:25]
    report["units"] = [round(step, 3), round(plain, 3)]
    report["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
