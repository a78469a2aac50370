"""This flyte-build's version (PEP 440); ``pyproject.toml`` says the same, and a test compares them."""

__all__ = ["__version__"]

__version__ = "0.1.0"
