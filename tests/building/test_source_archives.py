"""What a source distribution says of its build, read off the archive; a stranger's archive is refused in words."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from flyte_build.building.wheels import build_system
from flyte_build.kernel.errors import ArtifactError

LEGACY = ("setuptools.build_meta:__legacy__", [], ("setuptools>=40.8.0",))


def archive(folder: Path, name: str, text: str | None) -> Path:
    path = folder / name
    files = {"a-1.0/sub/pyproject.toml": "[broken", **({"a-1.0/pyproject.toml": text} if text is not None else {})}
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as held:
            for member, content in files.items():
                held.writestr(member, content)
        return path
    with tarfile.open(path, "w:gz") as tar:
        for member, content in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(content.encode())
            tar.addfile(info, io.BytesIO(content.encode()))
    return path


@pytest.mark.parametrize("name", ["a-1.0.tar.gz", "a-1.0.zip"])
def test_what_it_says(tmp_path: Path, name: str) -> None:
    text = '[build-system]\nrequires = ["hatchling", "x>1"]\nbuild-backend = "own:backend"\nbackend-path = ["tools"]\n'
    assert build_system(archive(tmp_path, name, text), name) == ("own:backend", ["tools"], ("hatchling", "x>1"))
    assert build_system(archive(tmp_path, name, "[tool.x]\n"), name) == LEGACY
    assert build_system(archive(tmp_path, name, None), name) == LEGACY


def test_what_is_none_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"text", gzip.compress(b"no tar" * 200)):
        (tmp_path / "a-1.0.tar.gz").write_bytes(data)
        with pytest.raises(ArtifactError, match=r"a-1\.0\.tar\.gz: expected a source distribution"):
            build_system(tmp_path / "a-1.0.tar.gz", "a-1.0.tar.gz")
    path = archive(tmp_path, "b-1.0.tar.gz", "[build-system\n")
    with pytest.raises(ArtifactError, match="expected a source distribution"):
        build_system(path, path.name)
