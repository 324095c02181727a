"""The text of a project folder, read, checked and compiled into what the engine runs."""
