"""The store on SQLite: one file, one owner, one writer."""

from dovetail.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
