"""The command group: names, one-line summaries, and nothing imported before it is asked for."""

from __future__ import annotations

import importlib

import click

from ..kernel.version import __version__
from .verbose import with_verbose

__all__ = ["cli"]

_EPILOG = """\b
Exit codes:
  0  success
  1  a bug in flyte-build (please report it)
  2  wrong usage or argument types
  3  the file does not load, or has no such task or environment
  4  a lock is missing, stale, hand-edited or from a future schema
  5  the resolver found no solution, or no wheel for the platform
  6  an artifact cannot be fetched, or is not what was locked
  7  refused: cannot be made hermetic (the message names the way out)
  8  a corrupt wheel, Debian package or file
  9  the store or an output cannot be written or read (no space, permission)
  10 a task calls what its environment or image does not provide for
  11 this machine cannot isolate a task
  12 the run did not succeed
  13 `--exit-code` of diff, outdated: there are differences
  14 an image registry refuses, or cannot be reached
  15 an image is not the one that was pinned
  16 a sealed step failed, or came out other than it was sealed
  130 interrupted

\b
Environment:
  FLYTE_BUILD_CACHE      the store (images, artifacts); can be deleted
  FLYTE_BUILD_STATE      runs, their logs and results
  FLYTE_BUILD_LOCKFILES  the folder of the locks
  FLYTE_BUILD_DEBIAN_MIRROR, FLYTE_BUILD_DEBIAN_SECURITY_MIRROR,
  FLYTE_BUILD_DEBIAN_SNAPSHOT, FLYTE_BUILD_DEBIAN_KEYRING
                         where Debian's packages are, and the keys they are
                         signed with (default: the host's apt, then the
                         snapshot archive; Debian's own keyring)
  FLYTE_BUILD_REGISTRY, FLYTE_BUILD_REMOTE_CACHE, FLYTE_BUILD_POLICY,
  FLYTE_BUILD_REMOTE_CACHE_WRITE, FLYTE_BUILD_INSECURE_REGISTRIES
                         win over [tool.flyte-build] of pyproject.toml
  FLYTE_BUILD_REGISTRY_MIRROR
                         where base images come from instead (docs/bases.md)
  FLYTE_BUILD_REGISTRY_USER, FLYTE_BUILD_REGISTRY_PASSWORD
                         credentials for that registry (docs/registries.md)
  FLYTE_BUILD_LOCKED, FLYTE_BUILD_PIN, FLYTE_BUILD_DELEGATE
                         how flyte's own commands pin (docs/flyte.md)
  FLYTE_BUILD_CORE       pure: layers are made by Python alone; native: never
                         (docs/core.md)
  LOG_LEVEL              what flyte's runtime logs in a run (default: ERROR)
  NO_COLOR               no colours

\b
Shell completion:
  eval "$(flyte-build completion bash)"     # or zsh, fish
"""


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own and are imported on use.

    ``commands`` of this class maps a name to ``(module, summary)``: the summary is for the list in ``--help``, which
    must not import them all. ``package`` holds the modules.
    """

    package = f"{__package__}.commands"
    lazy: tuple[tuple[str, str, str], ...] = (
        ("init", "init", "Take on a Flyte project: its settings, its locks, what will be refused."),
        ("doctor", "doctor", "Look at this machine and project: what is missing, and the way out."),
        ("lock", "lock", "Choose versions and write them, with hashes, to lockfiles/."),
        ("plan", "plan", "Show which images a task needs, what is cached, and why the rest is built."),
        ("why", "why", "Show why a package is in an image, and by way of which others."),
        ("tree", "tree", "Show the packages of an image as a tree."),
        ("outdated", "outdated", "Show what is newer than the locks; write nothing."),
        ("diff", "diff", "Show the differences between any two of: locks, environments, derivations, images."),
        ("build", "build", "Build the images that no cache holds."),
        ("push", "push", "Build, and push to an image registry what it lacks."),
        ("load", "load", "Build, and put into Docker or podman."),
        ("verify", "verify", "Rebuild images from nothing and compare them with their pins."),
        ("sbom", "sbom", "Show what is in an image: CycloneDX, SPDX, or provenance."),
        ("export", "export", "Write a lock in another tool's form: requirements, pex, nix."),
        ("venv", "venv", "Make a virtual environment with the wheels of an image, for editors."),
        ("bundle", "bundle", "Write locks, artifacts and images to one file, for a site without network."),
        ("unbundle", "bundle", "Take in a bundle, so that its images build without network."),
        ("nix", "nix", "Help Nix build the same images: fill its store from the configured places."),
        ("run", "run", "Run a task, and every task it calls, each in its own image."),
        ("serve", "serve", "Serve an app environment in its image, until Ctrl-C."),
        ("deploy", "deploy", "Keep tasks with their images, for runs here to call by name."),
        ("shell", "shell", "Open a shell in the image of an environment, sandboxed as its tasks are."),
        ("exec", "shell", "Run one command in the image of an environment."),
        ("runs", "runs", "List runs; `runs show RUN`: one with its attempts."),
        ("logs", "runs", "Show what a run, or one of its actions, printed."),
        ("signal", "reaching", "Give a condition of a run its value."),
        ("abort", "reaching", "End a run that runs."),
        ("target", "target", "Look after the clusters that tasks run on: list, check, manifests."),
        ("page", "page", "Write a run as one HTML page: timeline, calls, logs, reports."),
        ("ui", "page", "Show runs in a browser while they go on."),
        ("images", "images", "List the images of this machine's store, and what they share."),
        ("store", "store", "Look after the store: verify, gc, path."),
        ("completion", "completion", "Print the completion script for a shell."),
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, _, _ in self.lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name, module, _ in self.lazy:
            if name == cmd_name:
                command = getattr(importlib.import_module(f"{self.package}.{module}"), name)
                assert isinstance(command, click.Command)
                return with_verbose(command)
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, _, summary in self.lazy])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            import difflib

            close = difflib.get_close_matches(name, self.list_commands(ctx), 1)
            ctx.fail(f"no command `{name}`" + (f"; did you mean `{close[0]}`?" if close else ""))
        return super().resolve_command(ctx, args)


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """The version, and which assembler works here: the native core or Python's."""
    if not wanted or context.resilient_parsing:
        return
    from ..workbench.assembler import assembler

    click.echo(f"flyte-build, version {__version__} ({assembler()})")
    context.exit()


@click.group(cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def cli() -> None:
    """Hermetic, content-addressed images for Flyte, without Docker, and runs on them.

    \b
    Start with:
      flyte-build run FILE TASK --help      what a task takes
      flyte-build run FILE TASK --ARG VALUE run it here, in sandboxes
      flyte-build plan FILE                 what would be built, and why
    """
