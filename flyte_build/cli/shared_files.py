"""The manual page and the shells' completions as files below a prefix (``share/…``), as packages install them.

They are made of the commands themselves, when a wheel is made; nobody writes them by hand.
"""

from __future__ import annotations

from pathlib import Path

from click.shell_completion import get_completion_class

from ..kernel.files import write_whole
from ..kernel.version import __version__
from .app import cli
from .manual import manual

__all__ = ["PLACES", "write_shared_files"]

_NAME = "flyte-build"
# Where each shell looks for completions of programs by their names: bash-completion, zsh's site functions, fish(1).
PLACES = {
    "bash": f"share/bash-completion/completions/{_NAME}",
    "zsh": f"share/zsh/site-functions/_{_NAME}",
    "fish": f"share/fish/vendor_completions.d/{_NAME}.fish",
}


def write_shared_files(prefix: Path) -> list[Path]:
    """Write all of them below ``prefix``; their paths."""
    found = {f"share/man/man1/{_NAME}.1": manual(cli, _NAME, __version__)}
    for shell, place in PLACES.items():
        made = get_completion_class(shell)
        assert made is not None
        found[place] = made(cli, {}, _NAME, "_FLYTE_BUILD_COMPLETE").source()
    for place, text in found.items():
        path = prefix / place
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    return [prefix / place for place in found]
