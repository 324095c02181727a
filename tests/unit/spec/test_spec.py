from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable
from typing import Any, Literal

import jsonschema_rs
import pytest

from dovetail.errors import ProjectError
from dovetail.spec import (
    UNKNOWN,
    Duration,
    Location,
    Loose,
    Path,
    Rate,
    Secret,
    Size,
    Spec,
    field,
    form,
    json_schema,
    markdown,
    redact,
    walk,
)


class Hmac(Spec, tag="hmac"):
    secret: Secret = field(help="The shared secret.")
    header: str = field(help="Where the signature is.", default="X-Signature")


class Github(Spec, tag="github"):
    secret: Secret = field(help="The webhook's secret.")


class Open(Spec, tag="open"):
    pass


class Case(Spec):
    when: str = field(help="Condition.", kind="expression")
    steps: list[Any] = field(help="What to do.", kind="steps")


class Config(Spec):
    url: str = field(help="Where it listens.", example="http://localhost:80", main=True)
    password: Secret | None = field(help="The password.", default=None)
    timeout: Duration = field(help="Longest wait.", default="30s", min="1s", max="1h")
    limit: Size = field(help="Largest body.", default="1MB")
    rate: Rate | None = field(help="Budget.", default=None)
    mode: Literal["fast", "safe"] = field(help="How.", default="safe")
    port: int = field(help="TCP port.", default=80, min=1, max=65535)
    strict: bool = field(help="Refuse more.", default=False)
    headers: dict[str, str] = field(help="Sent along.", default={}, kind="expression")
    topics: list[str] = field(help="Where to.", default=[], kind="topic")
    verify: Hmac | Github | Open | None = field(help="Signatures.", default=None)
    cases: list[Case] = field(help="Cases.", default=[])
    for_: Duration | Literal["ever"] = field(help="How long.", default="ever")


def lines(path: Path, *, key: bool = False) -> Location:
    return Location("a.yaml", 1 + len(path), 1 if key else 9)


def said(value: Any, spec: type[Spec] = Config) -> list[str]:
    return [str(problem) for problem in spec.check(value)[1]]


def test_values_become_typed() -> None:
    config = Config.parse(
        {"url": "u", "timeout": "1m30s", "limit": "64KiB", "rate": "10/m", "password": "p", "for": "2d"}
    )
    assert (config.url, config.timeout, config.limit, config.mode) == ("u", 90.0, 65536, "safe")
    assert (
        config.rate is not None and (config.rate.count, config.rate.period) == (10, 60) and str(config.rate) == "10/m"
    )
    assert config.password is not None and config.password.reveal() == "p"
    assert config.for_ == Duration(172800)


def test_a_bare_value_sets_the_main_field() -> None:
    assert Config.parse("u") == Config(url="u")


def test_all_problems_come_at_once_in_file_order_with_places_and_suggestions() -> None:
    _, problems = Config.check({"urll": 1, "port": 0, "timeout": 5, "strict": "yes", "mode": "fasst"}, lines)
    text = [str(problem) for problem in problems]
    assert text[0] == "a.yaml:1:1: missing field 'url' (add url: http://localhost:80)"
    assert "a.yaml:2:1: unknown field 'urll' (did you mean 'url'?)" in text
    assert "a.yaml:2:9: 'port' must be at least 1" in text
    assert "a.yaml:2:9: 'timeout' must be a duration such as 30s, not 5 (write 5s)" in text
    assert "a.yaml:2:9: 'strict' must be true or false, not 'yes' (write true)" in text
    assert "a.yaml:2:9: 'mode' must be fast or safe, not 'fasst' (did you mean 'fast'?)" in text
    assert len(text) == 6


@pytest.mark.parametrize(
    ("field_name", "value", "message"),
    [
        ("url", 80, "'url' must be text, not 80 (put it in quotes: \"80\")"),
        ("url", {"a": 1}, "'url' must be text, not a mapping"),
        ("port", "80", "'port' must be a whole number, not '80' (write 80 without quotes)"),
        ("port", True, "'port' must be a whole number, not true"),
        ("port", 1.5, "'port' must be a whole number, not 1.5"),
        ("port", None, "'port' must be a whole number, not nothing"),
        ("timeout", "soon", "'timeout' must be a duration such as 30s, not 'soon' (write a number and a unit"),
        ("timeout", "2h", "'timeout' must be at most 1h"),
        ("limit", "1 meg", "'limit' must be a size such as 1MB"),
        ("rate", "5", "'rate' must be a rate such as 100/s"),
        ("topics", "a", "'topics' must be a list, not 'a' (write [a])"),
        ("topics", ["a", 3], "topics[1]: 'topics' must be text, not 3"),
        ("headers", {1: "x"}, "the name 1 must be text"),
        ("headers", [], "'headers' must be a mapping of names to values, not a list"),
        ("verify", {"hmaac": {}}, "unknown field 'hmaac' (did you mean 'hmac'?)"),
        ("verify", {"hmac": {"secret": "s"}, "github": {"secret": "s"}}, "keep exactly one"),
        ("verify", {"hmac": {}}, "verify.hmac: missing field 'secret'"),
        ("verify", "hmac", "verify: missing field 'secret'"),
        ("cases", [{"when": "a", "step": []}], "cases[0].step: unknown field 'step' (did you mean 'steps'?)"),
        ("url", Secret("x"), "'url' is not kept secret, so it cannot take a secret"),
        ("timeout", Secret("x"), "'timeout' must be a duration such as 30s, not a secret"),
    ],
)
def test_each_wrong_value_is_explained(field_name: str, value: Any, message: str) -> None:
    found = said({"url": "u", field_name: value})
    assert any(message in line for line in found), found


def test_the_name_of_a_wrong_whole_is_given() -> None:
    assert "write its fields: when, steps" in said(["x"], Case)[0]


def test_members_of_a_union_are_chosen_by_key_or_by_bare_name() -> None:
    verify = Config.parse({"url": "u", "verify": {"hmac": {"secret": "s"}}}).verify
    assert isinstance(verify, Hmac) and verify.header == "X-Signature"
    assert isinstance(Config.parse({"url": "u", "verify": "open"}).verify, Open)


def test_text_of_the_environment_may_stand_for_numbers() -> None:
    config = Config.parse({"url": Loose("u"), "port": Loose("81"), "strict": Loose("true")})
    assert (config.url, config.port, config.strict) == ("u", 81, True)
    assert type(config.url) is str
    assert "must be a whole number" in said({"url": "u", "port": Loose("x")})[0]


def test_nothing_more_is_said_about_a_value_that_was_complained_about() -> None:
    instance, problems = Config.check({"url": UNKNOWN, "port": UNKNOWN, "verify": UNKNOWN, "for": UNKNOWN})
    assert (instance, problems) == (None, [])


class Window(Spec):
    low: int = field(help="From.", default=0)
    high: int = field(help="To.", default=1)

    def rules(self) -> Iterable[tuple[str, str]]:
        if self.low >= self.high:
            yield "high", "'high' must be above 'low'"


def test_rules_across_fields() -> None:
    assert said({"low": 2, "high": 2}, Window) == ["high: 'high' must be above 'low'"]


def test_calling_the_class_checks_like_text() -> None:
    with pytest.raises(ProjectError) as caught:
        Config(url="u", port=0)
    assert len(caught.value.problems) == 1


def test_instances_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Config(url="u").url = "v"  # type: ignore[misc]


def test_a_secret_never_shows() -> None:
    canary = "c4n4ry"
    secret = Secret(canary)
    shown = [str(secret), repr(secret), f"{secret}", secret + "", "a" + secret, secret.upper(), str([secret])]
    shown += [secret.encode().decode(), "".join([secret]), format(secret, ">20"), secret[:], str(copy.copy(secret))]
    config = Config(url="u", password=secret, verify=Hmac(secret=secret))
    shown += [repr(config), str(redact(config)), *said({"url": "u", "password": secret, "port": secret})]
    assert not [text for text in shown if canary in text]
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret.reveal() == canary
    assert secret == Secret(canary) != Secret("other")
    assert Secret(secret).reveal() == canary
    assert redact(config)["password"] == "***"
    assert redact(config)["verify"] == {"hmac": {"secret": "***", "header": "X-Signature"}}


def test_walk_gives_every_set_field_with_its_path() -> None:
    config = Config(url="u", headers={"X": "a"}, topics=["t"], cases=[Case(when="w", steps=[{"map": "m"}])])
    found = {path: (declared.kind, value) for path, declared, value in walk(config, ("c",))}
    assert found["c", "headers", "X"] == ("expression", "a")
    assert found["c", "topics", 0] == ("topic", "t")
    assert found["c", "cases", 0, "when"] == ("expression", "w")
    assert found["c", "cases", 0, "steps"] == ("steps", [{"map": "m"}])
    assert ("c", "password") not in found


def test_json_schema_accepts_what_the_spec_accepts() -> None:
    valid = jsonschema_rs.validator_for(json_schema(Config)).is_valid
    good: list[Any] = [
        "u",
        {"url": "u", "port": "${env:PORT}", "timeout": "5m", "verify": "open", "for": "ever"},
        {"url": "u", "verify": {"hmac": {"secret": "${secret:s}"}}, "cases": [{"when": "a", "steps": [{"map": "x"}]}]},
    ]
    bad: list[Any] = [{}, {"url": 1}, {"url": "u", "x": 1}, {"url": "u", "mode": "slow"}, {"url": "u", "timeout": "5"}]
    assert [valid(value) for value in good] == [True] * 3
    assert [valid(value) for value in bad] == [False] * 5


def test_reference_names_every_field_and_nested_ones() -> None:
    page = markdown(Config)
    assert "| `timeout` | a duration such as 30s | `30s` | Longest wait. |" in page
    assert "### `verify.hmac`" in page and "| `header` |" in page
    assert "| `cases` | list of a mapping |" in page and "### `cases`" in page


def test_forms_have_an_entry_per_field() -> None:
    entries = {entry["name"]: entry for entry in form(Config)}
    assert entries["url"]["required"] and entries["url"]["example"] == "http://localhost:80"
    assert entries["password"]["type"] == "password" and entries["password"]["secret"]
    assert entries["mode"]["options"] == ["fast", "safe"]
    assert set(entries["verify"]["choices"]) == {"hmac", "github", "open"}
    assert entries["topics"]["kind"] == "topic"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Duration, "500ms", 0.5),
        (Duration, "1h30m", 5400),
        (Size, "1MB", 10**6),
        (Size, "1MiB", 2**20),
        (Rate, "100/s", 100),
        (Rate, "5/30s", 5 / 30),
    ],
)
def test_notations_round_trip(kind: Any, text: str, value: float) -> None:
    assert kind.parse(text) == value
    assert kind.parse(str(kind.parse(text))) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Duration, "5"),
        (Duration, "s"),
        (Duration, "-5s"),
        (Duration, "5s "),
        (Size, "5"),
        (Size, "5kiB"),
        (Rate, "5/0s"),
    ],
)
def test_wrong_notations_are_refused(kind: Any, text: str) -> None:
    with pytest.raises(ValueError):
        kind.parse(text)


def test_declarations_are_held_to_their_form() -> None:
    with pytest.raises(TypeError, match="help"):
        field(help=" ")
    with pytest.raises(TypeError, match="declare it with field"):
        type("Bare", (Spec,), {"__annotations__": {"a": int}, "a": 1})
    with pytest.raises(TypeError, match="annotated Secret"):
        type("Leaky", (Spec,), {"__annotations__": {"a": str}, "a": field(help="h", secret=True)})
    with pytest.raises(TypeError, match="write fields_"):
        type("Taken", (Spec,), {"__annotations__": {"fields": str}, "fields": field(help="h")})
    wrong = type("Wrong", (Spec,), {"__annotations__": {"a": int}, "a": field(help="h", default="x")})
    with pytest.raises(TypeError, match="its own default is wrong"):
        wrong.parse({})


class Variables(Spec):
    values: dict[str, str] = field(help="Them.", main=True)
    when: str = field(help="If.", default="")


class Headers(Spec):
    add: dict[str, str] = field(help="Them.", main=True, default={})
    remove: list[str] = field(help="Not them.", default=[])


def test_a_main_field_may_hold_a_mapping() -> None:
    assert Variables.parse({"a": "1"}).values == {"a": "1"}
    assert Variables.parse({"values": {"a": "1"}, "when": "x"}).when == "x"
    assert Headers.parse({"x": "1"}).add == {"x": "1"}
    assert Headers.parse({"remove": ["x"]}).remove == ["x"]
    assert Headers.parse({}).add == {}
