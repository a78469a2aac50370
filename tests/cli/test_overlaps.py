"""Two distributions with one path, as a person meets them: told at lock time, decided by rule, refused on request."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from flyte_build.store import Store, layout
from tests.support.offline import Offline

FLOW = """
import flyte
image = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",)).with_pip_packages("one", "two")
env = flyte.TaskEnvironment("env", image=image)
"""
SITE = "opt/venv/lib/python3.11/site-packages"
LINE = "env: one 1.0 and two 1.0 both install `cv/__init__.py`, `cv/x.py`: those of two are in the image"


@pytest.fixture
def project(offline: Offline) -> Offline:
    same = {"tests/__init__.py": ""}
    offline.publish("one", files={"cv/__init__.py": "1\n", "cv/x.py": "one\n", **same})
    offline.publish("two", files={"cv/__init__.py": "2\n", "cv/x.py": "two\n", **same})
    offline.write(FLOW)
    return offline


def _content(store: Path, path: str) -> bytes:
    """What the image of the store has at ``path``: the upper layer's."""
    opened = Store(store)
    found = b""
    for blob in (store / "oci" / "blobs" / "sha256").iterdir():
        document = layout.parse(blob.read_bytes())
        for layer in (document or {}).get("layers", []):
            with tarfile.open(opened.blob_path(layer["digest"])) as tar:
                if path in tar.getnames():
                    member = tar.extractfile(path)
                    found = member.read() if member is not None else b""
    return found


def test_it_is_told_at_lock_time_and_the_later_name_wins(project: Offline) -> None:
    locked = project.ok("lock", "flow.py")
    assert LINE in locked.err
    assert "tests/__init__.py" not in locked.err
    built = project.ok("build", "flow.py", "--no-check")
    one, two = (f"{name}-1.0-py3-none-any.whl" for name in ("one", "two"))
    assert f"`{SITE}/cv/__init__.py` and 1 more of {one} and of {two} are not the same" in built.err
    assert _content(project.store, f"{SITE}/cv/x.py") == b"two\n"
    # Nothing new is locked, and nothing said again.
    assert LINE not in project.ok("lock", "flow.py").err


def test_the_strict_refuse_it_and_no_lock_is_written(project: Offline) -> None:
    (project.project / "pyproject.toml").write_text('[tool.flyte-build]\noverlaps = "refuse"\n')
    refused = project.refused(7, "lock", "flow.py")
    assert 'error: distributions install different files at one path (`overlaps = "refuse"`):' in refused
    assert LINE in refused
    assert not (project.project / "lockfiles" / "env.json").exists()
