"""The commands beside a running server, and over its store when it is gone."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from dovetail.clock import SystemClock, SystemIds
from dovetail.store.sqlite import SqliteStore

Say = Callable[..., Any]


def ids(say: Say, project: Any, state: str) -> list[str]:
    done = say("messages", "-p", project.folder, "--state", state, "--ids")
    assert done.code == 0
    found: list[str] = done.out.split()
    return found


def flow(say: Say, project: Any) -> dict[str, int]:
    numbers = say("status", "-p", project.folder, "--json").json["flows"][0]
    return {name: numbers[name] for name in ("accepted", "pending", "done", "discarded", "dead")}


def settled(say: Say, project: Any) -> None:
    """Ask until nothing is pending; each question is a whole command."""
    for _ in range(3000):
        if not flow(say, project)["pending"]:
            return
    raise AssertionError(say("messages", "-p", project.folder, "--state", "pending").out)


@pytest.fixture
def played(project: Any) -> Any:
    """The project with its server, after four orders: done, dead, dead, discarded."""
    project.start()
    answers = [project.send(1, "ada"), project.send(2, "bad"), project.send(3, "bad"), project.send(4, "bob", False)]
    assert answers[0] < 300
    assert answers[1:3] == [422, 422]
    return project


@pytest.mark.parametrize("running", [True, False], ids=["running", "at rest"])
def test_everything_is_told_by_the_server_and_by_its_store_alike(say: Say, played: Any, running: bool) -> None:
    if not running:
        assert played.stop() == 0
    where = ("-p", played.folder)
    status = say("status", *where)
    assert status.code == 0
    assert ("ready" in status.out, "not running" in status.out) == (running, not running)
    assert flow(say, played) == {"accepted": 4, "pending": 0, "done": 1, "discarded": 1, "dead": 2}

    page = say("messages", *where, "--json").json["messages"]
    assert [line["state"] for line in page] == ["discarded", "dead", "dead", "done"]
    assert [line["key"] for line in page] == ["bob", "bad", "bad", "ada"]
    listed = say("messages", *where).out
    assert all(line["id"] in listed for line in page)
    assert [line["id"] for line in say("messages", *where, "--key", "ada", "--json").json["messages"]] == [
        page[3]["id"]
    ]
    assert say("messages", *where, "--text", '"id": 3', "--ids").out.split() == [page[1]["id"]]
    assert say("messages", *where, "--since", "1h", "--ids").out.split() == [line["id"] for line in page]
    assert say("messages", *where, "--until", "1h", "--ids").out == ""
    first = say("messages", *where, "-n", "3", "--json").json
    assert len(first["messages"]) == 3
    rest = say("messages", *where, "--before", first["next"], "--json").json
    assert [line["id"] for line in rest["messages"]] == [page[3]["id"]]

    done = say("show", page[3]["id"], *where)
    assert done.code == 0
    assert "ORDER-1" in done.out
    assert "send:outbox.write" in done.out
    journey = say("show", page[3]["id"], *where, "--json").json
    assert [(step["step"], step["outcome"]) for step in journey["steps"]] == [
        ("filter", "done"), ("map", "done"), ("send:outbox.write", "done"),
    ]  # fmt: skip
    assert '"total"' in journey["steps"][1]["after"]["text"]
    assert '"total"' not in journey["steps"][1]["before"]["text"]
    assert [effect["state"] for effect in journey["effects"]] == ["done"]
    dead = say("show", page[1]["id"].partition("-")[2], *where, "--json").json
    assert dead["steps"][1]["outcome"] == "failed"
    assert "nobody knows bad" in dead["attempts"][0]["message"]

    missing = say("show", "77777", *where)
    assert (missing.code, "there is no message 77777" in missing.err) == (4, True)
    assert say("messages", *where, "--flow", "odrers").code == 4
    assert say("redrive", page[3]["id"], *where).code == 5


def test_one_dead_letter_goes_on_with_an_edited_body(say: Say, played: Any, tmp_path: Any) -> None:
    where = ("-p", played.folder)
    _, id = ids(say, played, "dead")
    body = say("show", id, *where, "--body").out
    (tmp_path / "body.json").write_text(body.replace("bad", "eve"))
    done = say("redrive", id, *where, "--body", tmp_path / "body.json", "--json")
    assert (done.code, done.json["redriven"]) == (0, [id])
    settled(say, played)
    assert flow(say, played) == {"accepted": 4, "pending": 0, "done": 2, "discarded": 1, "dead": 1}
    assert (played.folder / "outbox/ORDER-2.json").exists()
    assert say("show", id, *where, "--body").out == body.replace("bad", "eve")
    assert say("show", id, *where, "--original").out == body
    assert say("show", id, *where, "--json").json["redriven"] == 1


def test_as_new_needs_a_yes_for_many_and_names_the_new_message(say: Say, played: Any) -> None:
    where = ("-p", played.folder)
    first, second = ids(say, played, "dead")
    refused = say("redrive", first, second, "--as-new", *where)
    assert (refused.code, "as new ones: say --yes" in refused.err) == (2, True)
    done = say("redrive", second, "--as-new", *where, "--json")
    assert (done.code, done.json["redriven"], len(done.json["new"])) == (0, [second], 1)
    settled(say, played)
    assert flow(say, played) == {"accepted": 5, "pending": 0, "done": 1, "discarded": 2, "dead": 2}
    told = say("redrive", done.json["new"][0], "--as-new", *where)
    assert told.out.startswith(f"redriven  {done.json['new'][0]} as ")
    settled(say, played)


def test_many_are_redriven_at_rest_with_the_mended_text_when_the_server_comes_back(say: Say, played: Any) -> None:
    where = ("-p", played.folder)
    assert played.stop(signal.SIGKILL) == -signal.SIGKILL
    mapping = played.folder / "maps/order.jsonata"
    mapping.write_text(mapping.read_text().replace('"bad"', '"nobody"'))
    refused = say("redrive", "--all", *where)
    assert (refused.code, "say --yes" in refused.err) == (2, True)
    done = say("redrive", "--flow", "orders", "--yes", *where)
    assert (done.code, done.out.count("redriven")) == (0, 2)
    assert flow(say, played)["pending"] == 2
    assert len(ids(say, played, "waiting")) == 2
    played.start()
    settled(say, played)
    assert flow(say, played) == {"accepted": 4, "pending": 0, "done": 3, "discarded": 1, "dead": 0}
    assert say("redrive", "--all", "--yes", *where).out == "there is no dead letter to redrive\n"


def test_many_ids_are_taken_in_parts_and_what_cannot_be_is_skipped(say: Say, played: Any) -> None:
    where = ("-p", played.folder)
    dead = ids(say, played, "dead")
    (done,) = ids(say, played, "done")
    played.stop()
    nobody = [f"{n:x}" for n in range(0x1000, 0x1000 + 197)]
    said = say("redrive", *dead, *nobody, done, "7777", *where, "--json")
    assert said.code == 1
    assert said.json["redriven"] == dead
    assert [skipped["id"] for skipped in said.json["skipped"]] == [*nobody, done, "7777"]
    in_words = say("redrive", *nobody, *where)
    assert (in_words.code, "… 197 skipped in all" in in_words.out) == (1, True)


def test_a_store_of_another_process_and_a_broken_one_cannot_be_reached(say: Say, project: Any) -> None:
    project.start()
    assert project.send(1, "ada") < 300
    (project.folder / ".dovetail/server.json").unlink()
    held = say("status", "-p", project.folder)
    assert (held.code, "in use by process" in held.err) == (3, True)
    project.stop()
    (project.folder / ".dovetail/store.db").write_bytes(b"no database at all, and long enough to look at" * 100)
    broken = say("status", "-p", project.folder)
    assert (broken.code, len(broken.err.splitlines())) == (3, 1)


def test_an_announcement_of_a_server_that_is_gone_is_passed_over(say: Say, played: Any) -> None:
    announced = (played.folder / ".dovetail/server.json").read_text()
    played.stop()
    (played.folder / ".dovetail/server.json").write_text(announced)
    assert say("status", "-p", played.folder).code == 0


async def test_looking_at_rest_does_not_make_an_unclean_store_clean(tmp_path: Any) -> None:
    from dovetail.app import resting

    folder = tmp_path / ".dovetail"
    folder.mkdir()
    store = await SqliteStore.open(folder / "store.db", clock=SystemClock(), ids=SystemIds())
    await store.close(clean=False)
    async with resting(tmp_path, folder) as control:
        assert control.status().flows == []
    again = await SqliteStore.open(folder / "store.db", clock=SystemClock(), ids=SystemIds())
    assert not again.clean
    await again.close()


def test_text_from_outside_does_not_steer_the_terminal(say: Say, project: Any) -> None:
    project.start()
    assert project.send(1, "\x1b]0;owned\x07\u202ebad") < 300
    where = ("-p", project.folder)
    (id,) = ids(say, project, "done")
    for words in (("messages",), ("show", id), ("status",)):
        said = say(*words, *where).out
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert "\x07" not in said
