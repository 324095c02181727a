"""The store's folder: the token is private, the server's address is believed only while its process lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dovetail.clock import SystemIds
from dovetail.control.places import Places
from dovetail.errors import StoreError


def test_the_token_is_drawn_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    places = Places(tmp_path / "deep" / "store")
    places.prepare()
    token = places.make_token(SystemIds())
    assert len(token) > 40
    assert places.make_token(SystemIds()) == token == places.read_token()
    assert places.token.stat().st_mode & 0o777 == 0o600
    assert places.folder.stat().st_mode & 0o777 == 0o700


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.make_token(SystemIds())
    places.token.chmod(0o644)
    with pytest.raises(StoreError, match="can be read by others"):
        places.make_token(SystemIds())


def test_a_token_is_never_written_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    places = Places(tmp_path)
    places.token.symlink_to(target)
    with pytest.raises(StoreError):
        places.make_token(SystemIds())
    assert not target.exists()


def test_an_empty_token_opens_nothing(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.token.touch(0o600)
    with pytest.raises(StoreError, match="holds no token"):
        places.read_token()


def test_the_server_is_found_while_it_lives(tmp_path: Path) -> None:
    places = Places(tmp_path)
    assert places.running() is None
    places.announce("http://127.0.0.1:8081", "http://127.0.0.1:8080")
    server = places.running()
    assert server is not None
    assert (server.url, server.pid) == ("http://127.0.0.1:8081", os.getpid())
    places.retire()
    places.retire()
    assert places.running() is None


def test_a_server_that_is_gone_is_not_believed(tmp_path: Path) -> None:
    places = Places(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    places.server.write_text(f'{{"url": "http://127.0.0.1:1", "pid": {gone.pid}}}')
    assert places.running() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}', '{"url": "x", "pid": 99999999999999999999}'])
def test_a_broken_announcement_is_none(tmp_path: Path, text: str) -> None:
    places = Places(tmp_path)
    places.server.write_text(text)
    assert places.running() is None
