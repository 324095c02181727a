"""What a mapping says when it cannot go on: a code, a sentence, and the place in its text."""

from __future__ import annotations

from itertools import islice
from typing import Any

from ..errors import Rejected
from .values import UNDEFINED

MESSAGES: dict[str, str] = {
    "S0101": "String literal must be terminated by a matching quote",
    "S0102": "Number out of range: {token}",
    "S0103": "Unsupported escape sequence: \\{token}",
    "S0104": "The escape sequence \\u must be followed by 4 hex digits",
    "S0105": "Quoted property name must be terminated with a backquote (`)",
    "S0106": "Comment has no closing tag",
    "S0201": "Syntax error: {token} was not expected here",
    "S0202": "Expected {value}, got {token}",
    "S0203": "Expected {value} before the end of the expression",
    "S0204": "Unknown operator: {token}",
    "S0206": "Unknown expression type: {token}",
    "S0207": "Unexpected end of expression",
    "S0208": "Parameter {value} of a function definition must be a variable name (start with $)",
    "S0209": "A predicate cannot follow a grouping expression in a step",
    "S0210": "Each step can only have one grouping expression",
    "S0211": "The symbol {token} cannot be used as a unary operator",
    "S0212": "The left side of := must be a variable name (start with $)",
    "S0213": "The literal value {value} cannot be used as a step within a path expression",
    "S0214": "The right side of {token} must be a variable name (start with $)",
    "S0215": "A context variable binding must precede any predicates on a step",
    "S0216": "A context variable binding must precede the 'order-by' clause on a step",
    "S0217": "The object representing the 'parent' cannot be derived from this expression",
    "S0301": "Empty regular expressions are not allowed",
    "S0302": "No terminating / in regular expression",
    "S0303": "The regular expression is not valid: {value}",
    "S0304": "The regular expression cannot be run in bounded time: {value}",
    "S0401": "Type parameters can only be applied to functions and arrays",
    "S0402": "Choice groups containing parameterized types are not supported",
    "S0501": "The expression is nested too deeply; name its parts with := or split it",
    "S0502": "The expression is longer than {value} characters",
    "S0503": "The expression is too large, it has more than {value} parts; split it",
    "T0410": "Argument {index} of function {token} does not match the function's signature",
    "T0411": "The context value is not of a type that argument {index} of function {token} takes",
    "T0412": "Argument {index} of function {token} must be an array of {type}",
    "D1001": "Number out of range: {value}",
    "D1002": "Cannot negate a value that is not a number: {value}",
    "T1003": "A key in an object must evaluate to a string; got {value}",
    "D1004": "The regular expression matches a zero-length string",
    "T1005": "Attempted to invoke something that is not a function. Did you mean ${token}?",
    "T1006": "Attempted to invoke something that is not a function",
    "T1007": "Attempted to partially apply something that is not a function. Did you mean ${token}?",
    "T1008": "Attempted to partially apply something that is not a function",
    "D1009": "Multiple key definitions evaluate to the same key: {value}",
    "T1010": "The matcher function passed to function {token} does not return the right structure",
    "D1013": "Object property names starting with _jsonata_ are reserved: {value}",
    "T2001": "The left side of the {token} operator must evaluate to a number",
    "T2002": "The right side of the {token} operator must evaluate to a number",
    "T2003": "The left side of the range operator (..) must evaluate to an integer",
    "T2004": "The right side of the range operator (..) must evaluate to an integer",
    "T2006": "The right side of the function application operator ~> must be a function",
    "T2007": "Cannot order {value} and {value2}: they are of different types",
    "T2008": "The expressions within an order-by clause must evaluate to numbers or strings",
    "T2009": "The values {value} and {value2} either side of {token} must be of the same type",
    "T2010": "The expressions either side of {token} must evaluate to numbers or strings",
    "T2011": "The update clause of a transform must evaluate to an object; got {value}",
    "T2012": "The delete clause of a transform must evaluate to a string or an array of strings; got {value}",
    "T2013": "A transform copies its input with $clone, which is hidden here by something that is not a function",
    "D2014": "A range (..) must not have more than 1e7 items; this one has {value}",
    "D2015": "The longest sequence allowed here has {value} items",
    "D3001": "Infinity and NaN have no string form",
    "D3010": "The second argument of $replace cannot be an empty string",
    "D3011": "The fourth argument of $replace must be a positive number",
    "D3012": "A matched string was replaced with a value that is not a string",
    "D3020": "The third argument of $split must be a positive number",
    "D3030": "Unable to cast value to a number: {value}",
    "D3040": "The third argument of $match must be a positive number",
    "D3050": "The second argument of $reduce must be a function of at least two arguments",
    "D3060": "$sqrt cannot be applied to a negative number: {value}",
    "D3061": "$power has no number to answer with: base {value}, exponent {exp}",
    "D3070": "$sort without a function needs an array of strings or an array of numbers",
    "D3080": "The picture string must have at most two sub-pictures",
    "D3081": "The sub-picture must not have more than one decimal-separator",
    "D3082": "The sub-picture must not have more than one percent character",
    "D3083": "The sub-picture must not have more than one per-mille character",
    "D3084": "The sub-picture must not have both a percent and a per-mille character",
    "D3085": "The mantissa of a sub-picture must have at least one digit or optional digit character",
    "D3086": "The sub-picture must not have a passive character between active characters",
    "D3087": "The sub-picture must not have a grouping-separator next to a decimal-separator",
    "D3088": "The sub-picture must not have a grouping-separator at the end of the integer part",
    "D3089": "The sub-picture must not have two adjacent grouping-separators",
    "D3090": "In the integer part of a sub-picture no optional digit may follow a digit",
    "D3091": "In the fractional part of a sub-picture no digit may follow an optional digit",
    "D3092": "A sub-picture with a percent or per-mille character must not have an exponent-separator",
    "D3093": "The exponent of a sub-picture must consist of digits only",
    "D3100": "The radix of $formatBase must be between 2 and 36; got {value}",
    "D3110": "$toMillis without a picture takes an ISO 8601 timestamp; got {value}",
    "D3120": "Syntax error in the expression passed to $eval: {value}",
    "D3121": "Error in the expression passed to $eval: {value}",
    "D3130": "Formatting or parsing an integer as a sequence starting with {value} is not supported",
    "D3131": "In a decimal digit pattern all digits must be of the same decimal group",
    "D3132": "Unknown component {value} in a date/time picture",
    "D3133": "The name modifier can only be applied to months and days in a date/time picture, not to {value}",
    "D3134": "The timezone format of a date/time picture cannot have more than four digits",
    "D3135": "No matching closing bracket ']' in date/time picture string",
    "D3136": "The date/time picture lacks components needed to parse the timestamp",
    "D3137": "{value}",
    "D3138": "$single expected one match and found more",
    "D3139": "$single expected one match and found none",
    "D3140": "Malformed URL passed to ${function}(): {value}",
    "D3141": "{value}",
    "D4001": "$eval is switched off here",
    "D4002": "{value}",
    "D4003": "{value}",
    "U1001": "{value}",
}


#: items, and characters of a text, that are looked at to show a value
SHOWN = 100


def shown(value: Any) -> str:
    """A value as an error message shows it: short, in JSON."""
    from .functions.text import to_text

    if value is UNDEFINED:
        return "nothing"
    value = part(value, [SHOWN])
    try:
        text = to_text(None, value, quote=True)
    except Exception:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def part(value: Any, left: list[int]) -> Any:
    """As much of a value as is shown, however large it is. `left` counts down the items."""
    left[0] -= 1
    if isinstance(value, str):
        return value[:SHOWN]
    if left[0] < 0:
        return None
    if isinstance(value, dict):
        return {key[:SHOWN]: part(one, left) for key, one in islice(value.items(), max(left[0], 1))}
    if isinstance(value, list):
        return [part(one, left) for one in islice(value, max(left[0], 1))]
    return value


class MappingError(Rejected):
    """An expression is wrong or cannot be evaluated on this input.

    `code` is JSONata's code. `position` counts characters from 0 to just behind the token at fault, as JSONata does.
    `line` and `column` count from 1 and point at the token's start. `token` is the operator, function or symbol at
    fault, `path` the input path of the value at fault where it is known, `value` that value.
    """

    def __init__(self, code: str, *, position: int | None = None, start: int | None = None, **details: Any) -> None:
        super().__init__(code, code=code)
        self.position = position
        self.start = start
        self.token: str | None = details.pop("token", None)
        self.value: Any = details.get("value", UNDEFINED)
        self.details = details
        self.line: int | None = None
        self.column: int | None = None
        self.path: str | None = None
        self.node: int | None = None
        self.compose()

    def compose(self) -> None:
        """Fill in the sentence from the code and what is known by now."""
        template = MESSAGES.get(self.code, self.code)
        plain = self.code in ("D3137", "D3141", "U1001", "D4002", "D4003")
        names = {
            key: (str(value) if plain or key in ("type", "index", "function") else shown(value))
            for key, value in self.details.items()
        }
        names.setdefault("value", "nothing")
        names["token"] = "?" if self.token is None else self.token if len(self.token) <= 80 else self.token[:77] + "..."
        for key, text in names.items():
            template = template.replace("{" + key + "}", text)
        self.message = template

    def locate(self, text: str, position: int, start: int, token: str | None) -> None:
        """Say where it happened, unless an inner place has been named already."""
        if self.position is None:
            self.position, self.start = position, start
        if self.token is None:
            self.token = token
        if self.line is None:
            at = min(max(self.start if self.start is not None else position, 0), len(text))
            self.line = text.count("\n", 0, at) + 1
            self.column = at - text.rfind("\n", 0, at)
        self.compose()

    def __str__(self) -> str:
        where = f" (line {self.line}, column {self.column})" if self.line is not None else ""
        source = f" at {self.path}" if self.path else ""
        return f"{self.code}: {self.message}{source}{where}"
