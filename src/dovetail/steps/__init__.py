"""One enterprise integration pattern a file. `dovetail.catalog` lists them by the word a flow uses."""
