"""What process 1 of a sandbox has of its own, where an import would cost more than all that it does."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from typing import Any

import pytest

from flyte_build.submit.sandbox import init

HEADER: dict[str, Any] = {
    "argv": ["a0", 'ü😀 " \\ \n\t', ""],
    "env": {"A": "1", "": "\ud800"},
    "numbers": [0, -1, 2.5, 1e300, 1 << 70],
    "nothing": [None, True, False, {}, []],
    "deep": [[[{"x": [{}]}]]],
}


@pytest.mark.parametrize("there", ["as ever", "missing", "other"])
def test_a_header_is_what_json_says(monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    """Also with an interpreter that has no scanner of its own, or another one."""
    original = builtins.__import__

    def imported(name: str, *given: Any) -> Any:
        if name == "_json":
            raise ImportError(name)
        return original(name, *given)

    if there == "missing":
        monkeypatch.setattr(builtins, "__import__", imported)
    if there == "other":
        monkeypatch.delattr(init._Plain, "strict")
    for text in (json.dumps(HEADER), json.dumps(HEADER, separators=(",", ":"))):
        assert init.parsed(text) == HEADER


def test_only_what_is_named_is_suppressed() -> None:
    with init.suppress(FileNotFoundError, PermissionError):
        raise PermissionError
    with pytest.raises(IsADirectoryError), init.suppress(FileNotFoundError, PermissionError):
        raise IsADirectoryError


def test_it_imports_next_to_nothing() -> None:
    look = (
        "import sys; before = set(sys.modules); import runpy; own = set(sys.modules) - before;"
        f"sys.modules.pop('runpy'); exec(compile(open({init.__file__!r}).read().split('if __name__')[0], 'x', 'exec'));"
        "print(*sorted(set(sys.modules) - before - own))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", look], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"__future__", "_socket", "_thread", "errno", "select", "time"}
