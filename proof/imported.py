"""Imports whatever a server of the fault project imports, by reading the project; for processes to be forked from."""

from __future__ import annotations

import gc

import uvloop
from uvicorn.lifespan import off
from uvicorn.protocols.http import httptools_impl

from dovetail.app import load
from dovetail.cli import run
from proof import drilled
from proof.server import PROJECT

load(PROJECT, "dev", {"ACCOUNTING_URL": "http://127.0.0.1"})

gc.freeze()  # what is here already need not be looked through by each process that is forked

__all__ = ["drilled", "httptools_impl", "off", "run", "uvloop"]
