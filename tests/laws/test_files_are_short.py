"""A file is one idea, and that is seldom longer than a few screens."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = 320
FOLDERS = ("flyte_build", "tests", "benchmarks", "rules", "examples")


def long_files(root: Path) -> list[str]:
    """Python files of ours below ``root`` that are too long, and how long they are."""
    files = (path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py")))
    # A project may have been locked or set up in its folder.
    ours = (path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts))
    counted = ((path.relative_to(root), len(path.read_text().splitlines())) for path in ours)
    return [f"{path}: expected at most {LINES} lines, found {lines}" for path, lines in counted if lines > LINES]


def test_no_file_is_long() -> None:
    assert long_files(ROOT) == []


@pytest.mark.parametrize(("lines", "found"), [(LINES, 0), (LINES + 1, 1)])
def test_a_long_file_is_found(tmp_path: Path, lines: int, found: int) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_much.py").write_text("x = 1\n" * lines)
    assert len(long_files(tmp_path)) == found
