"""The built-in functions, one file a family; each is declared once, with its signature, help and examples."""
