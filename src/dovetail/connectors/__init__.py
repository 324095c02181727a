"""One file or one small folder per system. Connectors import only `dovetail.sdk` and their own client library."""
