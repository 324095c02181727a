"""Files: a watched folder as a source, a folder as a connection."""

from dovetail.connectors.file.connection import FileConnection
from dovetail.connectors.file.source import FileSource

__all__ = ["FileConnection", "FileSource"]
