"""Writes a corpus: a folder for each project, as many of each shape as its weight says. The same for the same size."""

from __future__ import annotations

from pathlib import Path

from .shapes import SHAPES, Shape

__all__ = ["generate", "shares"]


def shares(size: int, shapes: tuple[Shape, ...] = SHAPES) -> dict[str, int]:
    """How many projects of each shape there are among ``size``: by weight, at least one of each."""
    total = sum(shape.weight for shape in shapes)
    return {shape.name: max(1, round(size * shape.weight / total)) for shape in shapes}


def generate(folder: Path, size: int, shapes: tuple[Shape, ...] = SHAPES) -> list[Path]:
    """Write the projects into ``folder``, new or empty; their Flyte files, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder}: expected no files, found some")
    counts = shares(size, shapes)
    made: list[Path] = []
    for shape in shapes:
        for number in range(counts[shape.name]):
            project = folder / f"{shape.name.replace(' ', '-').replace(',', '').replace(chr(39), '')}-{number:03d}"
            for name, text in shape.files.items():
                path = project / name
                path.parent.mkdir(parents=True, exist_ok=True)
                # No two projects are the same text, as no two users' are.
                path.write_text(text + (f"# project {number}\n" if name.endswith(".py") else ""))
            (project / ".git").mkdir()
            made.append(project / next(iter(shape.files)))
    return made
