"""The site is built where there is no network, every link and anchor of it leads somewhere, and it loads nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import compose as composing
from tests.support.tools import need

pytestmark = pytest.mark.integration

_BUILD = """
import sys
from pathlib import Path
from tests.site.__main__ import build
code, said = build(Path(sys.argv[1]))
print(said)
sys.exit(code)
"""


def built(folder: Path, code: str = _BUILD) -> subprocess.CompletedProcess[str]:
    """In a namespace with no network but a loopback that nobody listens on."""
    alone = [need("bwrap", "bubblewrap"), "--dev-bind", "/", "/", "--unshare-net"]
    return subprocess.run(
        [*alone, sys.executable, "-c", code, folder],
        cwd=composing.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("site")
    done = built(folder)
    assert (done.returncode, done.stdout.strip()) == (0, "")
    yield folder / "site"
    shutil.rmtree(folder, ignore_errors=True)


def test_every_page_is_there(site: Path) -> None:
    for names in composing.pages().values():
        for name in names:
            page = site / name.replace(".md", ".html")
            assert "<h1>" in page.read_text(encoding="utf-8"), name
    home = (site / "index.html").read_text(encoding="utf-8")
    assert all(f">{chapter}</span>" in home for chapter in composing.pages())


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    loading = re.compile(r"""(?:<(?:script|img|iframe|source)[^>]+src|<link[^>]+href)=["'](?:https?:)?//[^"']+""")
    found = [m for page in site.rglob("*.html") for m in loading.findall(page.read_text(encoding="utf-8"))]
    assert found == []
    styles = [m for page in site.rglob("*.css") for m in re.findall(r"url\(['\"]?(?:https?:)?//", page.read_text())]
    assert styles == []


def test_the_program_is_in_it(site: Path) -> None:
    command = (site / "reference/commands/store-gc.html").read_text(encoding="utf-8")
    assert "--keep-days" in command
    api = (site / "reference/api.html").read_text(encoding="utf-8")
    for name in ("flyte_build.open", "flyte_build.Workbench.plan", "flyte_build.Workbench.push", "flyte_build.pinned"):
        assert f'id="{name}"' in api, name


_BROKEN = """
import sys
from pathlib import Path
from tests.site import __main__ as made
real = made.compose
def small(folder):
    real(folder)
    for path in folder.rglob("*.md"):
        if path.name not in {"index.md", "locks.md"}:
            path.unlink()
    links = "[b](locks.md#no-such-heading) [c](nowhere.md)"
    (folder / "index.md").write_text("# A\\n\\n" + links + "\\n\\n```{toctree}\\nlocks\\n```\\n")
    (folder / "locks.md").write_text("# B\\n")
made.compose = small
code, said = made.build(Path(sys.argv[1]))
print(said)
sys.exit(code)
"""


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    done = built(tmp_path, _BROKEN)
    assert done.returncode != 0
    assert "no-such-heading" in done.stdout
    assert "nowhere.md" in done.stdout
