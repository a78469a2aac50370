"""``flyte-build export``: a lock in the form of another tool. The forms are commands of their own, imported on use."""

from __future__ import annotations

import click

from ..app import LazyGroup

__all__ = ["export"]


class Exports(LazyGroup):
    """The forms; their modules lie in ``exports``."""

    package = f"{__package__}.exports"
    lazy = (
        (
            "requirements",
            "requirements",
            "For pip, uv and Bazel: versions and hashes, as requirements.txt or pylock.toml.",
        ),
        ("pex", "pex", "For machines without containers: the wheels as one executable file."),
        ("nix", "nix", "For Nix: a flake whose packages are the images."),
    )


@click.group(cls=Exports)
def export() -> None:
    """Write a lock in another tool's form.

    \b
    flyte-build export requirements examples/af2/main.py --env msa_env
    flyte-build export pex examples/af2/main.py --env msa_env -o msa.pex
    flyte-build export nix examples/af2/main.py
    """
