"""``flyte-build completion SHELL``: click's own completion, printed."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    ~/.bashrc                   eval "$(flyte-build completion bash)"
    ~/.zshrc                    eval "$(flyte-build completion zsh)"
    ~/.config/fish/config.fish  flyte-build completion fish | source
    """
    from ..app import cli

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "flyte-build", "_FLYTE_BUILD_COMPLETE").source())
