from __future__ import annotations

import random
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dovetail.catalog import Catalog
from dovetail.errors import ProjectError
from dovetail.project.functions import load_function
from dovetail.project.load import check_tree, load_project, load_snapshot, secret_values
from dovetail.project.values import Surroundings
from dovetail.spec import Problem

CATALOG = Catalog.builtin()
ROOT = b"project: acme\n"
ERP = b"""\
connection: erp
connector: http
url: "${env:ERP_URL}"
auth: {bearer: "${secret:erp_token}"}
operations:
  create_order: {method: POST, path: /orders, repeat: idempotent-by-key}
  ring_bell: {method: POST, path: /bell, repeat: none}
"""
FLOW = b"""\
flow: orders
source:
  webhook: {path: /hooks/orders, verify: {hmac: {secret: "${secret:hook}", header: X-Signature}}}
contract: shop.order@2
key: customer.id
dedupe: id
steps:
  - filter: status = "paid"
  - map: maps/order.jsonata
  - call: erp.create_order
    as: erp
  - publish: orders.accepted
"""
OTHER = b"""\
flow: ledger
source:
  topic: {name: orders.accepted}
steps:
  - log: seen
"""
FILES: dict[str, bytes] = {
    "dovetail.yaml": ROOT,
    "connections/erp.yaml": ERP,
    "flows/orders.yaml": FLOW,
    "flows/ledger.yaml": OTHER,
    "maps/order.jsonata": b'{"id": id}\n',
    "contracts/shop.order/2.json": b"""\
{"type": "object", "properties": {
  "id": {}, "status": {"type": "string"}, "customer": {"type": "object"}, "to": {"$ref": "../shop.address/1.json"}
}}
""",
    "contracts/shop.address/1.json": b'{"type": "object"}',
}
ENVIRON = {
    "ERP_URL": "http://127.0.0.1:9",
    "DOVETAIL_SECRET_ERP_TOKEN": "t0ken-canary",
    "DOVETAIL_SECRET_HOOK": "h00k-canary",
}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def around(environment: str = "dev", **environ: str) -> Surroundings:
    return Surroundings.of(Path("nowhere"), environment, {**ENVIRON, **environ})


def check(changes: Mapping[str, bytes | None], surroundings: Surroundings | None = None) -> list[str]:
    return [str(problem) for problem in problems(changes, surroundings)]


def problems(changes: Mapping[str, bytes | None], surroundings: Surroundings | None = None) -> list[Problem]:
    files = {name: data for name, data in {**FILES, **changes}.items() if data is not None}
    project, found = check_tree(files, CATALOG, surroundings or around(), Path("nowhere"))
    assert (project is None) == any(problem.level == "error" for problem in found), found
    return found


def flow(change: str, to: str) -> dict[str, bytes]:
    text = FLOW.decode()
    assert change in text
    return {"flows/orders.yaml": text.replace(change, to).encode()}


def test_a_project_without_a_fault(tmp_path: Path) -> None:
    project, found = load_project(write(tmp_path, FILES), CATALOG, "dev", ENVIRON)
    assert found == [] and project is not None
    assert (project.name, set(project.flows), set(project.connections)) == ("acme", {"orders", "ledger"}, {"erp"})
    orders = project.flows["orders"]
    assert orders.source is not None and orders.source.word == "webhook"
    assert orders.locate(("steps", 0)) == ("flows/orders.yaml", 8, 5)
    assert set(project.contracts) == {"shop.order@2", "shop.address@1"}
    assert project.connections["erp"].operations["create_order"].repeat == "idempotent-by-key"  # type: ignore[attr-defined]


CASES: list[Any] = [
    (flow("filter:", "fitler:"), "flows/orders.yaml:8:5: unknown step 'fitler' (did you mean 'filter'?)"),
    (flow("    as: erp", "    ass: erp"), "flows/orders.yaml:11:5: unknown field 'ass' (did you mean 'as'?)"),
    (flow("dedupe:", "dedup:"), "flows/orders.yaml:6:1: unknown field 'dedup' (did you mean 'dedupe'?)"),
    (
        flow("erp.create_order", "erp.create_ordr"),
        "flows/orders.yaml:10:11: the connection 'erp' has no operation 'create_ordr' (did you mean 'create_order'?)",
    ),
    (flow("call: erp.", "call: epr."), "flows/orders.yaml:10:11: there is no connection 'epr' (did you mean 'erp'?)"),
    (
        flow("call: erp.create_order", "call: erp"),
        "flows/orders.yaml:10:11: 'erp' names no operation (write connection.operation)",
    ),
    (
        flow("maps/order.jsonata", "maps/ordr.jsonata"),
        "flows/orders.yaml:9:10: there is no mapping 'maps/ordr.jsonata' (did you mean 'maps/order.jsonata'?)",
    ),
    (
        flow("shop.order@2", "shop.order@3"),
        "flows/orders.yaml:4:11: there is no contract 'shop.order@3' (did you mean 'shop.order@2'?)",
    ),
    (flow("shop.order@2", "shop.order"), "flows/orders.yaml:4:11: 'shop.order' is not a contract; write name@version"),
    (
        flow("dedupe: id", "dedupe: id\npriority: urgnt"),
        "flows/orders.yaml:7:11: 'urgnt' is no priority (did you mean 'urgent'?)",
    ),
    (
        flow("dedupe: id", "dedupe: id\npriority: high"),
        "flows/orders.yaml:7:11: 'high' is no priority (write urgent, normal or background, or $.high for a field of "
        "that name)",
    ),
    (
        flow("dedupe: id", """dedupe: id\npriority: 'status = "vip" ? "urgent" : (1; "bakground")'"""),
        "flows/orders.yaml:7:44: 'bakground' is no priority (did you mean 'background'?)",
    ),
    (flow("dedupe: id", "dedupe: id\npriority: 1 +"), "flows/orders.yaml:7:14: the mapping does not compile: "),
    (flow("webhook:", "webhok:"), "flows/orders.yaml:3:3: unknown source 'webhok' (did you mean 'webhook'?)"),
    (flow("path: /hooks", "pth: /hooks"), "flows/orders.yaml:3:13: unknown field 'pth' (did you mean 'path'?)"),
    (flow('status = "paid"', 'status = "paid'), "flows/orders.yaml:8:"),
    (flow('status = "paid"', "status = = 1"), "flows/orders.yaml:8:22: the mapping does not compile: "),
    (flow("customer.id", "customer..id"), "flows/orders.yaml:5:"),
    (
        flow("flow: orders", "flow: order"),
        "flows/orders.yaml:1:7: the flow is called 'order' but its file is flows/orders.yaml",
    ),
    (flow("erp.create_order", "erp.ring_bell"), "flows/orders.yaml:10:11: 'erp.ring_bell' must not be done twice"),
    (
        flow("- publish: orders.accepted", "- {publish: orders.accepted, map: x}"),
        "flows/orders.yaml:12:32: 'map' is a step of its own (begin it with '- map:')",
    ),
    (
        flow("- publish: orders.accepted", "- sub_flow: ledgr"),
        "flows/orders.yaml:12:15: there is no flow 'ledgr' (did you mean 'ledger'?)",
    ),
    (
        flow("- publish: orders.accepted", "- sub_flow: orders"),
        "flows/orders.yaml:12:15: the flow 'orders' would run itself",
    ),
    (
        flow("- publish: orders.accepted", "- try: [{split: x}]\n    catch: []"),
        "flows/orders.yaml:12:11: 'split' must be one of the flow's own steps",
    ),
    (
        flow("- publish: orders.accepted", "- try: [{call: erp.nope}]\n    catch: []"),
        "flows/orders.yaml:12:18: the connection 'erp' has no operation",
    ),
    (flow("- publish: orders.accepted", "- route:\n    - {when: a =, steps: []}"), "flows/orders.yaml:13:"),
    (flow("- publish: orders.accepted", "- 7"), "flows/orders.yaml:12:5: a step is one word with its settings"),
    (
        flow("- publish: orders.accepted", "- {log: a, id: x}\n  - {log: b, id: x}"),
        "flows/orders.yaml:13:18: another step of this flow is called 'x' too",
    ),
    (flow("steps:", "steps: 5\nx:"), "flows/orders.yaml:7:8: 'steps' must be a list, not 5"),
    (
        flow("${secret:hook}", "${secrets:hook}"),
        "flows/orders.yaml:3:58: '${secrets:hook}' is no placeholder (write ${env:NAME} or ${secret:name})",
    ),
    (
        flow("${secret:hook}", "${secret:hok}"),
        "flows/orders.yaml:3:58: the secret 'hok' is not set (set DOVETAIL_SECRET_HOK)",
    ),
    (
        flow("customer.id", "${secret:hook}"),
        "flows/orders.yaml:5:6: 'key' is not kept secret, so it cannot take a secret",
    ),
    ({"flows/orders.yaml": b"flow: [1,\n"}, "flows/orders.yaml:2:1: not YAML: "),
    ({"flows/orders.yaml": b""}, "flows/orders.yaml:1:1: missing field 'flow'"),
    (
        {"flows/orders.yaml": b"- a"},
        "flows/orders.yaml:1:1: the value must be a mapping, not a list (write its fields: flow, ",
    ),
    (
        {"maps/order.jsonata": b'{\n  "id": id,\n  "x": $sum(\n}\n'},
        "maps/order.jsonata:4:1: the mapping does not compile: ",
    ),
    ({"maps/order.jsonata": b"\xff"}, "maps/order.jsonata:1: the text is not valid UTF-8"),
    (
        {"contracts/shop.order/2.json": b'{"type": "objct"}'},
        "contracts/shop.order/2.json:1:10: the schema cannot be used: ",
    ),
    ({"contracts/shop.order/2.json": b'{\n "type": }'}, "contracts/shop.order/2.json:2:10: not JSON: "),
    (
        {"contracts/shop.order/two.json": b"{}"},
        "contracts/shop.order/two.json:1:1: the file's name is not a contract's",
    ),
    ({"contracts/shop.address/1.json": None}, "contracts/shop.order/2.json:1:1: the schema cannot be used: "),
    (
        {"connections/erp.yaml": ERP.replace(b"http\n", b"htp\n", 1)},
        "connections/erp.yaml:2:12: there is no connector 'htp' (did you mean 'http'?)",
    ),
    (
        {"connections/erp.yaml": ERP.replace(b"connector:", b"conector:")},
        "connections/erp.yaml:2:1: unknown field 'conector' (did you mean 'connector'?)",
    ),
    (
        {"connections/erp.yaml": ERP.replace(b"method:", b"metod:")},
        "connections/erp.yaml:6:18: unknown field 'metod' (did you mean 'method'?)",
    ),
    (
        {"connections/erp.yaml": ERP.replace(b"url:", b"urll:")},
        "connections/erp.yaml:3:1: unknown field 'urll' (did you mean 'url'?)",
    ),
    (
        {"connections/erp.yaml": ERP.replace(b"ERP_URL", b"ERP_URI")},
        "connections/erp.yaml:3:6: the environment variable ERP_URI is not set",
    ),
    (
        {"connections/erp.yaml": ERP.replace(b"connection: erp", b"connection: epr")},
        "connections/erp.yaml:1:13: the connection is called 'epr' but",
    ),
    (
        {"dovetail.yaml": b"project: acme\ndovetail: 2\n"},
        "dovetail.yaml:2:11: this project is written in format 2; this Dovetail reads",
    ),
    ({"dovetail.yaml": b"projct: acme\n"}, "dovetail.yaml:1:1: unknown field 'projct' (did you mean 'project'?)"),
    (
        {"dovetail.yaml": b"project: acme\nenvironments: {dev: {connections: {epr: {}}}}\n"},
        "dovetail.yaml:2:36: there is no connection 'epr' (did you mean 'erp'?)",
    ),
    ({"python/prices.py": b"def price(:\n"}, "python/prices.py:1:11: not Python: "),
]


@pytest.mark.parametrize(("changes", "message"), CASES, ids=[message for _, message in CASES])
def test_each_fault_is_told_with_its_place(changes: dict[str, bytes | None], message: str) -> None:
    found = check(changes)
    assert any(line.startswith(message) for line in found), found


def test_a_broken_file_does_not_make_others_wrong() -> None:
    for broken in ({"connections/erp.yaml": b"a: ["}, {"connections/erp.yaml": ERP.replace(b"http\n", b"htp\n", 1)}):
        assert {problem.file for problem in problems(broken)} == {"connections/erp.yaml"}
    assert {problem.file for problem in problems({"maps/order.jsonata": b"("})} == {"maps/order.jsonata"}
    assert {problem.file for problem in problems({"contracts/shop.order/2.json": b"("})} == {
        "contracts/shop.order/2.json"
    }
    assert {problem.file for problem in problems({"dovetail.yaml": b"project: acme\ndovetail: 9\nx: 1\n"})} == {
        "dovetail.yaml"
    }


def test_everything_is_told_in_one_go_and_in_file_order() -> None:
    found = problems(
        {
            **flow("call: erp.create_order", "cal: erp.create_order"),
            "connections/erp.yaml": ERP.replace(b"method:", b"metod:"),
            "maps/order.jsonata": b"(",
        }
    )
    errors = dict.fromkeys(problem.file for problem in found if problem.level == "error")
    assert list(errors) == ["connections/erp.yaml", "flows/orders.yaml", "maps/order.jsonata"]
    assert [problem.order for problem in found] == sorted(problem.order for problem in found)


def test_an_unsafe_repeat_is_allowed_when_the_flow_says_so() -> None:
    text = FLOW.replace(b"erp.create_order", b"erp.ring_bell")
    for word in (b"park", b"retry"):
        assert check({"flows/orders.yaml": text + b"on_failure: {in_doubt: " + word + b"}\n"}) == []


def test_an_unsafe_repeat_inside_of_another_flow_is_found() -> None:
    inner = b"flow: inner\nsteps:\n  - call: erp.ring_bell\n"
    found = check({"flows/inner.yaml": inner, **flow("- publish: orders.accepted", "- sub_flow: inner")})
    assert any(
        line.startswith("flows/orders.yaml:12:15: 'inner: erp.ring_bell' must not be done twice") for line in found
    )
    assert not any(line.startswith("flows/inner.yaml") for line in found)


def test_topics_without_a_reader_or_a_writer_are_warned_of() -> None:
    found = problems(flow("orders.accepted", "orders.acepted"))
    assert [str(problem) for problem in found] == [
        "flows/ledger.yaml:3:17: warning: no flow publishes to the topic 'orders.accepted'"
        " (did you mean 'orders.acepted'?)",
        "flows/orders.yaml:12:14: warning: no flow subscribes to the topic 'orders.acepted'"
        " (did you mean 'orders.accepted'?)",
    ]


def test_a_secret_in_the_text_is_warned_of_and_not_quoted() -> None:
    found = check(flow("${secret:hook}", "plain-canary"))
    assert found == ["flows/orders.yaml:3:58: warning: the secret 'secret' stands in the text (write ${secret:name})"]


def test_no_problem_ever_shows_a_secret() -> None:
    for changes, _ in CASES:
        assert "canary" not in "".join(check(changes))
    exposed = ERP.replace(b"/orders", b"${secret:erp_token}").replace(b"POST", b"${secret:erp_token}")
    found = check({"connections/erp.yaml": exposed})
    assert found and "canary" not in "".join(found)


def test_functions_of_the_project_are_looked_for() -> None:
    module = {"python/prices.py": b"def price(order: dict) -> dict:\n    return order\n"}
    step = flow("- publish: orders.accepted", "- python: prices:price")
    assert [line for line in check({**module, **step}) if "warning" not in line] == []
    wrong = flow("- publish: orders.accepted", "- python: prices:prise")
    assert any("has no function 'prise' (did you mean 'price'?)" in line for line in check({**module, **wrong}))
    assert any("there is no file python/prices.py" in line for line in check(wrong))


ENVIRONMENTS = b"""\
project: acme
environments:
  dev: {}
  production:
    env: {ERP_URL: "https://erp.example.com", NUMBER: "7"}
    connections: {erp: {timeout: 5s}}
    flows: {orders: {concurrency: 9}}
  broken:
    connections: {erp: {timeout: soon}}
"""


def load(tmp_path: Path, environment: str, environ: Mapping[str, str]) -> Any:
    project, found = load_project(tmp_path, CATALOG, environment, environ)
    assert project is not None, found
    return project


def test_environments_differ(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "dovetail.yaml": ENVIRONMENTS})
    without = {name: value for name, value in ENVIRON.items() if name != "ERP_URL"}
    production = load(tmp_path, "production", without)
    assert production.connections["erp"].config.url == "https://erp.example.com"
    assert (production.connections["erp"].config.timeout, production.flows["orders"].head.concurrency) == (5, 9)
    dev = load(tmp_path, "dev", ENVIRON)
    assert (dev.connections["erp"].config.url, dev.flows["orders"].head.concurrency) == ("http://127.0.0.1:9", 128)
    assert load(tmp_path, "production", ENVIRON).connections["erp"].config.url == "http://127.0.0.1:9"
    assert dev.flows["orders"].digest != production.flows["orders"].digest


def test_a_fault_in_an_environment_is_told_where_it_stands() -> None:
    found = check({"dovetail.yaml": ENVIRONMENTS}, around("broken"))
    assert any(line.startswith("dovetail.yaml:9:34: 'timeout' must be a duration") for line in found), found
    unknown = check({"dovetail.yaml": ENVIRONMENTS}, around("prodution"))
    assert unknown[0] == "dovetail.yaml:2:1: there is no environment 'prodution' (did you mean 'production'?)"


def test_what_is_not_set_is_only_a_warning_when_asked(tmp_path: Path) -> None:
    project, found = load_project(write(tmp_path, FILES), CATALOG, "dev", {}, strict=False)
    assert project is None
    assert [problem.code for problem in found] == ["variable-missing", "secret-missing", "secret-missing"]
    assert {problem.level for problem in found} == {"warning"}


def test_versions_are_hashes_of_what_the_text_means(tmp_path: Path) -> None:
    def digest(changes: Mapping[str, bytes], **environ: str) -> str:
        project, found = check_tree({**FILES, **changes}, CATALOG, around(**environ), tmp_path)
        assert project is not None, found
        return project.flows["orders"].digest

    same = digest({})
    assert digest(flow("steps:", "# a comment\nsteps:  ")) == same
    assert digest({}, DOVETAIL_SECRET_HOOK="another") == same
    assert digest({"flows/ledger.yaml": OTHER.replace(b"seen", b"heard")}) == same
    assert digest({"connections/erp.yaml": ERP.replace(b"/orders", b"/v2/orders")}) == same
    others = [
        digest(flow("paid", "open")),
        digest({"maps/order.jsonata": b'{"id": id + 1}'}),
        digest({"contracts/shop.address/1.json": b"{}"}),
        digest(flow("customer.id", "${env:KEY}"), KEY="a"),
        digest(flow("customer.id", "${env:KEY}"), KEY="b"),
        digest(flow("- publish: orders.accepted", "- sub_flow: ledger")),
    ]
    assert len({same, *others}) == 7


def test_a_snapshot_is_loaded_again_as_it_was(tmp_path: Path) -> None:
    changed = {
        **FILES,
        "dovetail.yaml": ENVIRONMENTS,
        **flow("  - filter: status", "  - throttle: ${env:RATE}\n  - filter: status"),
    }
    write(tmp_path, changed)
    before = load(tmp_path, "production", {**ENVIRON, "RATE": "5/s"})
    files = before.snapshot("orders")
    assert set(files) == {
        "flows/orders.yaml", "maps/order.jsonata", "contracts/shop.order/2.json", "contracts/shop.address/1.json",
        "variables.json",
    }  # fmt: skip
    write(
        tmp_path, {"flows/orders.yaml": b"flow: orders\nsteps: []\n", "maps/order.jsonata": b"1", "dovetail.yaml": ROOT}
    )
    again = load_snapshot(files, CATALOG, "production", {**ENVIRON, "RATE": "9/s"}, tmp_path)
    assert set(again.flows) == {"orders"}
    assert again.flows["orders"].digest == before.flows["orders"].digest
    assert again.flows["orders"].head == before.flows["orders"].head
    assert again.maps["maps/order.jsonata"] == '{"id": id}\n'
    assert not any(b"canary" in data for data in files.values())


def test_a_snapshot_whose_operation_is_gone_is_refused(tmp_path: Path) -> None:
    files = load(write(tmp_path, FILES), "dev", ENVIRON).snapshot("orders")
    write(tmp_path, {"connections/erp.yaml": ERP.replace(b"create_order", b"make_order")})
    with pytest.raises(ProjectError, match="has no operation 'create_order'"):
        load_snapshot(files, CATALOG, "dev", ENVIRON, tmp_path)


def test_sub_flows_belong_to_the_snapshot(tmp_path: Path) -> None:
    project = load(
        write(tmp_path, {**FILES, **flow("- publish: orders.accepted", "- sub_flow: ledger")}), "dev", ENVIRON
    )
    assert "flows/ledger.yaml" in project.snapshot("orders")


def test_secrets_come_from_a_private_file_too(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, ".dovetail/secrets.env": b"# ours\nhook = from-file\nerp_token=x=y\n"})
    file = tmp_path / ".dovetail/secrets.env"
    file.chmod(0o600)
    project = load(tmp_path, "dev", {"ERP_URL": "http://127.0.0.1:9", "DOVETAIL_SECRET_HOOK": "wins"})
    assert secret_values(project) == {"wins", "x=y"}
    file.chmod(0o644)
    with pytest.raises(ProjectError, match="others may read the secrets file"):
        load_project(tmp_path, CATALOG, "dev", ENVIRON)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    file.chmod(0o600)
    file.write_bytes(b"canary")
    with pytest.raises(ProjectError, match=r"secrets.env:1: a secret is written name=value") as caught:
        load_project(tmp_path, CATALOG, "dev", ENVIRON)
    assert "canary" not in str(caught.value)


def test_a_folder_that_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"it has no dovetail\.yaml"):
        load_project(tmp_path, CATALOG, "dev", {})


def test_links_out_of_the_project_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.jsonata").write_text("1")
    folder = write(tmp_path / "project", FILES)
    (folder / "maps/out.jsonata").symlink_to(tmp_path / "secret.jsonata")
    with pytest.raises(ProjectError, match="link out of the project"):
        load_project(folder, CATALOG, "dev", ENVIRON)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    more = {"README.md": b"\xff", "flows/notes.txt": b"x", ".git/flows/x.yaml": b"[", "flows/.x.yaml": b"["}
    assert load(write(tmp_path, {**FILES, **more}), "dev", ENVIRON).flows.keys() == {"orders", "ledger"}


def test_formats_are_looked_for() -> None:
    found = check(flow("- map: maps/order.jsonata", "- {map: maps/order.jsonata, format: jsn}"))
    assert "flows/orders.yaml:9:39: there is no format 'jsn' (did you mean 'json'?)" in found


def test_functions_of_two_versions_live_side_by_side(tmp_path: Path) -> None:
    step = flow("- publish: orders.accepted", "- python: prices:price")
    old = load(write(tmp_path, {**FILES, **step, "python/prices.py": b"def price(x):\n    return 1\n"}), "dev", ENVIRON)
    new = load(write(tmp_path, {"python/prices.py": b"def price(x):\n    return 2\n"}), "dev", ENVIRON)
    again = load_snapshot(old.snapshot("orders"), CATALOG, "dev", ENVIRON, tmp_path)
    functions = [load_function(project, "prices:price") for project in (old, new, again)]
    assert [function(0) for function in functions] == [1, 2, 1]


PIECES = [
    b"[",
    b"]",
    b"{",
    b"}",
    b": ",
    b"- ",
    b"\n",
    b'"',
    b"~",
    b"1",
    b"${env:X}",
    b"|\n",
    b"*a",
    b"\xff",
    b"\t",
    b"(",
    b"null",
]


def test_damaged_projects_get_problems_with_places_and_nothing_else() -> None:
    dice = random.Random(5)
    whole = {**FILES, "dovetail.yaml": ENVIRONMENTS, "python/prices.py": b"def price(x):\n    return x\n"}
    refused = 0
    for _ in range(150):
        files = dict(whole)
        for _ in range(dice.choice((1, 2))):
            name = dice.choice(sorted(files))
            at = dice.randrange(len(files[name]))
            files[name] = files[name][:at] + dice.choice(PIECES) + files[name][at + dice.randrange(4) :]
        project, found = check_tree(files, CATALOG, around("production"), Path("nowhere"))
        assert all(problem.file in files and problem.line for problem in found), found
        assert "canary" not in "".join(map(str, found))
        refused += project is None
    assert refused > 75


def test_two_flows_cannot_have_the_same_door() -> None:
    other = b"flow: ledger\nsource:\n  webhook: {path: /hooks/orders, methods: [PUT, POST]}\nsteps:\n  - log: seen\n"
    assert any("ledger' has POST /hooks/orders already" in problem for problem in check({"flows/ledger.yaml": other}))
    apart = other.replace(b", POST", b"")
    assert not any("already" in problem for problem in check({"flows/ledger.yaml": apart}))


def test_the_format_of_a_source_must_be_one() -> None:
    wrong = flow("path: /hooks/orders,", "path: /hooks/orders, format: jsn,")
    assert any("there is no format 'jsn'" in problem for problem in check(wrong))


PRICES = b"""\
import functools
from dovetail.sdk import Message as Whole


def plain(order, headers, more=1): ...
async def whole(message: Whole, order): ...
def named(order, *, variables): ...
def two(order, other): ...
def starred(*orders): ...
def only(order, /): ...
def nothing(): ...
bound = functools.partial(two, other=1)
try:
    from nowhere import borrowed
except ImportError:
    borrowed = None
@functools.cache
def wrapped(a, b): ...
"""


@pytest.mark.parametrize("name", ["plain", "whole", "named", "bound", "borrowed", "wrapped"])
def test_a_function_that_a_message_can_be_given_is_fine(name: str) -> None:
    step = flow("- publish: orders.accepted", f"- python: prices:{name}")
    assert [line for line in check({"python/prices.py": PRICES, **step}) if "warning" not in line] == []


@pytest.mark.parametrize(
    ("name", "line", "hint"),
    [
        ("two", 8, "a function takes the value, and beside it"),
        ("starred", 9, "write its parameters plainly"),
        ("only", 10, "write its parameters plainly"),
        ("nothing", 11, "a function takes the value, and beside it"),
    ],
)
def test_a_function_that_no_message_can_be_given_is_told_where_it_is_written(name: str, line: int, hint: str) -> None:
    step = flow("- publish: orders.accepted", f"- python: prices:{name}")
    told = f"python/prices.py:{line}:1: '{name}' cannot be called with a message ({hint}"
    assert any(found.startswith(told) for found in check({"python/prices.py": PRICES, **step}))


def test_checking_runs_nothing_of_the_project(tmp_path: Path) -> None:
    module = f"open({str(tmp_path / 'ran')!r}, 'w')\n\ndef price(order): ...\n".encode()
    step = flow("- publish: orders.accepted", "- python: prices:price")
    assert [line for line in check({"python/prices.py": module, **step}) if "warning" not in line] == []
    assert not (tmp_path / "ran").exists()


def test_modules_that_are_not_there_are_told() -> None:
    module = b"import json, nowhere\nimport prices\ntry:\n    import perhaps\nexcept ImportError: ...\n"
    found = check({"python/tax.py": module, "python/prices.py": b""})
    assert found == [
        "python/tax.py:2:1: the project's modules do not see each other"
        " (put what they share into one of them, or into a package that is installed)",
        "python/tax.py:1:1: warning: the module 'nowhere' is not installed here (install it beside dovetail)",
    ]


SIGNED = 'verify: {hmac: {secret: "${secret:hook}", header: X-Signature}}'


def test_a_door_that_anybody_may_use_is_a_trap() -> None:
    [found] = problems(flow(f", {SIGNED}", ""))
    assert (found.line, found.column, found.level, found.code) == (3, 19, "warning", "trap")
    assert "whoever reaches this path may send" in str(found)
    assert problems(flow(SIGNED, "verify: {open: the proxy asks}")) == []
    assert any("'why'" in line for line in check(flow(SIGNED, "verify: {open: ' '}")))


@pytest.mark.parametrize(
    ("door", "call", "told"),
    [
        (SIGNED, "erp.create_order", True),
        (SIGNED.replace("header: X-S", "delivery: X-Delivery, header: X-S"), "erp.create_order", False),
        ('verify: {github: {secret: "${secret:hook}"}}', "erp.create_order", False),
        (SIGNED, "erp.put_order", False),
    ],
)
def test_nothing_that_tells_a_second_delivery_from_a_second_message_is_a_trap(door: str, call: str, told: bool) -> None:
    text = FLOW.decode().replace("dedupe: id\n", "").replace(SIGNED, door).replace("erp.create_order", call)
    erp = ERP + b"  put_order: {method: PUT, path: /orders, repeat: natural}\n"
    found = check({"flows/orders.yaml": text.encode(), "connections/erp.yaml": erp})
    expected = f"flows/orders.yaml:3:3: warning: what is sent twice here is done twice by '{call}'"
    assert [line.startswith(expected) for line in found] == [True] * told


def test_an_environment_that_nobody_declared_is_told() -> None:
    assert check({}, around("prod"))[0].startswith("dovetail.yaml:1:1: there is no environment 'prod' (write ")


def test_a_bare_name_is_no_placeholder() -> None:
    wrong = ERP.replace(b"${env:ERP_URL}", b"${ERP_URL}")
    assert wrong != ERP
    assert any(
        "'${ERP_URL}' is no placeholder (write ${env:NAME}" in line for line in check({"connections/erp.yaml": wrong})
    )


def test_what_looks_like_a_part_of_the_project_and_is_not_read_is_told(tmp_path: Path) -> None:
    more = {
        "flows/late.yml": b"flow: late\n",
        "flow/early.yaml": b"flow: early\n",
        "notes/a.yaml": b"",
        "maps/x.md": b"",
    }
    _, found = load_project(write(tmp_path, {**FILES, **more}), CATALOG, "dev", ENVIRON)
    assert list(map(str, found)) == [
        "flow: warning: this is not read (call it flows)",
        "flows/late.yml: warning: this is not read (call it flows/late.yaml)",
    ]
