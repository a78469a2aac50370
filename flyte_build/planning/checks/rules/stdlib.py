"""The standard library of the image's Python, whatever Python does the planning.

The names are this Python's own (``sys.stdlib_module_names``), corrected by what other versions added or removed:
PEP 594 and PEP 632 and the changelogs of 3.12 to 3.14. And what Debian leaves out of its ``python3``.
"""

from __future__ import annotations

import sys

__all__ = ["debian_package", "is_standard", "removed_in"]

_REMOVED: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("asynchat", "asyncore", "distutils", "imp", "smtpd"), (3, 12)),
    **dict.fromkeys(
        [
            "aifc",
            "audioop",
            "cgi",
            "cgitb",
            "chunk",
            "crypt",
            "imghdr",
            "lib2to3",
            "mailcap",
            "msilib",
            "nis",
            "nntplib",
            "ossaudiodev",
            "pipes",
            "sndhdr",
            "spwd",
            "sunau",
            "telnetlib",
            "uu",
            "xdrlib",
        ],
        (3, 13),
    ),
}

_ADDED: dict[str, tuple[int, int]] = {"tomllib": (3, 11), "annotationlib": (3, 14), "compression": (3, 14)}

_DEBIAN = {
    "tkinter": "python3-tk",
    "_tkinter": "python3-tk",
    "turtle": "python3-tk",
    "distutils": "python3-distutils",
    "lib2to3": "python3-lib2to3",
    "ensurepip": "python{}.{}-venv",
}
"""Standard modules that Debian ships apart from ``libpython3.N-stdlib`` (read off bookworm's packages)."""


def is_standard(module: str, python: tuple[int, int]) -> bool:
    """Whether the top-level ``module`` belongs to this Python's standard library."""
    if module in _REMOVED:
        return python < _REMOVED[module]
    if module in _ADDED:
        return python >= _ADDED[module]
    return module in sys.stdlib_module_names


def removed_in(module: str) -> tuple[int, int] | None:
    """The Python that no longer has ``module``, where some earlier one had it."""
    return _REMOVED.get(module)


def debian_package(module: str, python: tuple[int, int]) -> str | None:
    """The Debian package that has this standard module, where ``python3`` itself has not."""
    found = _DEBIAN.get(module)
    return found.format(*python) if found else None
