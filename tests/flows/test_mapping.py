"""A mapping with tables, a function of the project's own, ids that a retry draws again, and contracts on both sides."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dovetail.cli.main import main
from dovetail.testkit.processes import Dovetail, Recorded, Recorder

PROJECT = Path(__file__).parent / "mapping"


@pytest.fixture(scope="module")
def target() -> Iterator[Recorder]:
    def busy_at_first(_: Recorded) -> tuple[int, bytes]:
        return (503, b"") if len(recorder.requests) == 1 else (200, b"{}")

    recorder = Recorder(busy_at_first)
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def server(servers: Callable[..., Dovetail], target: Recorder) -> Dovetail:
    server = servers(PROJECT, TARGET_URL=target.url)
    assert server.start(), server.log()
    return server


def order(id: int, *units: str, country: str = "DE") -> dict[str, Any]:
    lines = [{"sku": f"SKU-{n}", "unit": unit, "price": "11.90"} for n, unit in enumerate(units)]
    return {"id": id, "customer": "c-1", "country": country, "placed_at": "2026-01-31T10:00:00Z", "lines": lines}


def test_tables_functions_shapes_and_ids_that_a_retry_draws_again(server: Dovetail, target: Recorder) -> None:
    assert server.send("/orders", order(1, "pc")) == 202
    server.settled(orders=1)  # the target is busy for the first request: nothing else may come in its place
    assert server.send("/orders", order(2, "kg", "pc", country="FR")) == 202
    assert server.settled(orders=2)["orders"]["done"] == 2
    first, again, other = [request.body for request in target.requests]
    assert first == again, "the target was busy: the same ids were sent again"
    one, two = json.loads(first), json.loads(other)
    assert isinstance(one["rows"], list), "one row alone is still a list of rows"
    assert (one["reference"], one["due"]) == ("1", "2026-03-02")
    assert [(row["article"], row["unit"], row["net"]) for row in one["rows"]] == [("SKU-0", "EA", 10.0)]
    assert [(row["unit"], row["net"]) for row in two["rows"]] == [("KGM", 9.92), ("EA", 9.92)]
    ids = [made["number"] for made in (one, two)] + [row["row"] for made in (one, two) for row in made["rows"]]
    assert len(set(ids)) == 5


def test_a_result_that_breaks_its_contract_is_a_dead_letter_with_the_paths(server: Dovetail) -> None:
    assert server.send("/orders", order(3, "crate")) == 202
    server.settled()
    [dead] = server.messages(flow="orders", state="dead", limit="1")
    assert "erp.sales-order@1" in json.dumps(dead) and "unit" in json.dumps(dead)


def test_what_does_not_fit_is_found_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "mapping"
    shutil.copytree(PROJECT, project)
    assert main(["check", str(project), "--without-secrets"]) == 0
    mapping = project / "maps/order.jsonata"
    text = mapping.read_text().replace('"units"', '"unit"').replace("$net(", "$nett(").replace("sku,", "skuu,")
    mapping.write_text(text.replace('"due"', '"dew"'))
    capsys.readouterr()
    assert main(["check", str(project), "--without-secrets"]) == 1
    said = capsys.readouterr().out
    for line in (
        "maps/order.jsonata:8:13: error: there is no table 'unit'",
        "maps/order.jsonata:9:12: error: there is no function $nett",
        "maps/order.jsonata:7:16: warning: lines.skuu is not in the contract shop.order@1",
        "error: dew is not in the contract erp.sales-order@1",
        "maps/order.jsonata:1:1: error: due is required and never written",
    ):
        assert line in said, said
