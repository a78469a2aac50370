"""Turn tables into what models learn from."""
