"""``flyte-build sbom FILE [TASK | --env NAME]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...kernel.errors import InputError
from ...kernel.visible import visible
from ..options import env_option, file_argument, full_option, platform_option, project_options, task_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...workbench import Document

__all__ = ["sbom"]

# Columns that a licence gets where not everything fits.
_LICENCE = 36
_FORMATS = ("table", "cyclonedx", "spdx", "provenance")


@click.command()
@file_argument
@task_argument
@env_option
@click.option(
    "--format",
    "format",
    type=click.Choice(_FORMATS),
    help="A table for people (the default), CycloneDX 1.6 or SPDX 2.3 JSON, or SLSA provenance (in-toto JSON).",
)
@platform_option
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the document to FILE, whose ending (.cdx.json, .spdx.json, .intoto.json) can stand for --format.",
)
@project_options
@full_option
def sbom(
    file: Path | None,
    task: str | None,
    env: tuple[str, ...],
    format: str | None,
    platform: str | None,
    output: Path | None,
    root: Path | None,
    lockfiles: Path | None,
) -> None:
    """Show what is in the image of TASK, of an environment, or of all of FILE's: every package, by its hash.

    FILE is a Python file, or a lock (lockfiles/NAME.json), which is then all that is read. Nothing is built or fetched;
    licences are known of packages that this machine's store has. What is written depends on the lock, the image's
    digest and those licences alone: no clock, no random number. See docs/supply-chain.md.

    \b
    flyte-build sbom examples/af2/main.py --env msa_env
    flyte-build sbom lockfiles/msa_env.json --format cyclonedx -o msa.cdx.json
    flyte-build sbom main.py main --format provenance
    """
    wanted = _format(format, output)
    found = _described(file, task, env, platform, root, lockfiles)
    if wanted == "table":
        _show(found)
        return
    from ...workbench.describing import only

    one = only(found, wanted)
    _write(one.render(wanted), output)
    _say_absent([one])


def _format(format: str | None, output: Path | None) -> Any:
    if output is None:
        return format or "table"
    from ...workbench.describing import FORMATS

    if format is None:
        fitting = [f.name for f in FORMATS.values() if output.name.endswith(f.suffix)]
        if not fitting:
            endings = ", ".join(f.suffix for f in FORMATS.values())
            raise InputError(f"--output: expected --format with it, or a name that ends in one of {endings}")
        return fitting[0]
    if format == "table":
        raise InputError("--output: a table is for a terminal; expected --format cyclonedx, spdx or provenance with it")
    return format


def _described(
    file: Path | None,
    task: str | None,
    env: tuple[str, ...],
    platform: str | None,
    root: Path | None,
    lockfiles: Path | None,
) -> tuple[Document, ...]:
    if file is not None and file.suffix == ".json":
        from ...workbench import describe_lock

        if task or env:
            raise InputError(f"{file} is the lock of one environment: expected no task and no --env with it")
        return describe_lock(file, platform)
    from ..taking import taken

    return taken(file, root, lockfiles, task, env).sbom(task, env=env, platform=platform)


def _write(data: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(visible(data.decode()).encode() if sys.stdout.isatty() else data)
        sys.stdout.buffer.flush()
        return
    from ...kernel.outputs import write_output

    write_output(output, data)


def _say_absent(found: Sequence[Document]) -> None:
    absent = found[-1].absent if found else 0
    if absent:
        from ..console import counted, stderr

        stderr().print(
            f"licences are not known of {counted(absent, 'package')}: they are not in this machine's store",
            style="dim",
            soft_wrap=True,
        )


def _show(found: Sequence[Document]) -> None:
    from rich.markup import escape

    from ...workbench.describing import words
    from ..console import counted, stdout
    from ..tables import Column, print_table, short_digest

    out = stdout()
    columns = (
        Column("package", drop=0),
        Column("version", drop=0),
        Column("kind", drop=2),
        Column("source", drop=6),
        Column("sha256", drop=5, shorten=lambda cell: short_digest(f"sha256:{cell}")[7:]),
        Column("licence", drop=1, shorten=lambda cell: cell if len(cell) <= _LICENCE else cell[: _LICENCE - 1] + "…"),
    )
    for number, described in enumerate(found):
        image = described.image
        if number:
            out.print()
        digest = image.digest or "[dim]not built yet[/]"
        out.print(f"[bold]{escape(image.environment)}[/] {image.platform} {digest}", soft_wrap=True)
        if image.base is not None:
            layers = counted(len(image.base.layers), "layer")
            out.print(f"base: {escape(image.base.name)} {image.base.digest} ({layers})", soft_wrap=True)
        rows = [
            (
                escape(p.name),
                escape(p.version),
                "base" if p.from_base else "own wheel" if p.local else p.kind,
                escape(f"{p.source} {p.source_version or ''}".strip() if p.source not in (None, p.name) else ""),
                p.sha256 or "–",
                escape("; ".join(words(p.license)) or "–"),
            )
            for p in image.packages
        ]
        print_table(out, columns, rows)
        wheels = sum(p.kind == "wheel" for p in image.packages)
        known = sum(p.license.known for p in image.packages)
        parts = [counted(wheels, "Python package"), counted(len(rows) - wheels, "Debian package")]
        out.print(f"{', '.join(parts)}; licence known of {known}", soft_wrap=True)
        if not image.complete:
            why = "of the base image, only packages are listed" if image.base else "copied files are not listed"
            out.print(f"[dim]{why}[/]", soft_wrap=True)
    _say_absent(found)
