"""Steps, connections and sources by name: a value, made of the built-ins and of what guests bring."""

from dovetail.catalog.catalog import Catalog, Kind, UnknownName

__all__ = ["Catalog", "Kind", "UnknownName"]
