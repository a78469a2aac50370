"""Package indexes as pip and uv have them configured, and both kinds of page of the Simple API."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.kernel.errors import InputError
from flyte_build.sources.indexes import Index, IndexFile, IndexSettings, configured, redact
from flyte_build.sources.indexes.pages import Page, parse_html, parse_json

A = "https://a.index.example/simple"
B = "https://b.index.example/simple"


# -- configuration -----------------------------------------------------------------------------------


def settings(tmp_path: Path, root: Path | None = None, **env: str) -> IndexSettings:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return configured(root, {"HOME": str(home), "PIP_CONFIG_FILE": "/dev/null", **env})


def test_uv_comes_before_pip(tmp_path: Path) -> None:
    found = settings(tmp_path, UV_DEFAULT_INDEX=A, UV_INDEX=f"team={B} {A}/x", PIP_INDEX_URL=f"{B}/pip")
    assert [i.url for i in found.indexes] == [B, f"{A}/x", A]
    assert found.extra[0].name == "team"
    assert found.origin == "uv's configuration"


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"])
def test_every_name_of_the_default(tmp_path: Path, name: str) -> None:
    assert [i.url for i in settings(tmp_path, **{name: A}).indexes] == [A]


def test_uv_files_nearest_first(tmp_path: Path) -> None:
    root = tmp_path / "project" / "inner"
    root.mkdir(parents=True)
    text = f'[tool.uv]\nindex-strategy = "unsafe-best-match"\n[[tool.uv.index]]\nurl = "{A}"\ndefault = true\n'
    text += f'[[tool.uv.index]]\nname = "b"\nurl = "{B}"\n[[tool.uv.index]]\nurl = "{A}/torch"\nexplicit = true\n'
    (tmp_path / "project" / "pyproject.toml").write_text(text)
    found = settings(tmp_path, root)
    assert found.default == Index(A)
    assert found.extra == (Index(B, "b"),)
    assert found.strategy == "unsafe-best-match"
    (root / "uv.toml").write_text(f'[pip]\nindex-url = "{B}"\nfind-links = ["vendor"]\n')
    found = settings(tmp_path, root)
    assert found.default == Index(B)
    assert found.find_links == (str(root / "vendor"),)


def test_a_broken_uv_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text("index = [")
    with pytest.raises(InputError, match=r"uv\.toml: cannot be read as uv's configuration"):
        settings(tmp_path, tmp_path)


def test_pip_files_in_pips_order(tmp_path: Path) -> None:
    home = tmp_path / "home" / ".config" / "pip"
    home.mkdir(parents=True)
    (home / "pip.conf").write_text(f"[global]\nindex-url = {A}\ncert = /ca.pem\n[install]\nextra-index-url =\n  {B}\n")
    env = {"HOME": str(tmp_path / "home")}
    found = configured(None, env)
    assert [i.url for i in found.indexes] == [B, A]
    assert found.cert == "/ca.pem"
    own = tmp_path / "own.conf"
    own.write_text(f"[install]\nindex-url = {B}\n")
    named = configured(None, {**env, "PIP_CONFIG_FILE": str(own)})
    assert named.default == Index(B)
    assert not named.extra, "PIP_CONFIG_FILE silences the user's file"
    assert configured(None, {**env, "PIP_INDEX_URL": f"{A}/env"}).default == Index(f"{A}/env")


def test_pip_config_list_agrees(tmp_path: Path) -> None:
    own = tmp_path / "own.conf"
    own.write_text(f"[global]\nindex-url = {A}\n[install]\nindex-url = {B}\nfind-links = /wheels\n")
    env = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(own), "PIP_EXTRA_INDEX_URL": f"{A}/more"}
    command = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    for line in (f"install.index-url='{B}'", "install.find-links='/wheels'", f":env:.extra-index-url='{A}/more'"):
        assert line in said.splitlines()
    found = configured(None, env)
    assert (found.default, found.extra, found.find_links) == (Index(B), (Index(f"{A}/more"),), ("/wheels",))


def test_no_index(tmp_path: Path) -> None:
    found = settings(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS="/wheels /more", PIP_INDEX_URL=A)
    assert found.indexes == ()
    assert found.find_links == ("/wheels", "/more")


def test_the_default_is_the_tools_own(tmp_path: Path) -> None:
    from pip._internal.models.index import PyPI

    assert settings(tmp_path).indexes == (Index(PyPI.simple_url),)


def test_a_recipes_index_replaces_or_joins() -> None:
    base = IndexSettings(Index(A))
    assert base.for_recipe([], [], keep_default=True) is base
    assert [i.url for i in base.for_recipe([B], [], keep_default=False).indexes] == [B]
    assert [i.url for i in base.for_recipe([B], [], keep_default=True).indexes] == [B, A]
    assert [i.url for i in base.for_recipe([], [B], keep_default=True).indexes] == [B, A]


@given(user=st.text("ab%:", min_size=1), secret=st.text("xyz9!$", min_size=3))
def test_secrets_are_redacted(user: str, secret: str) -> None:
    assert secret not in redact(f"GET https://{user}:{secret}@index.example/simple/: 503")


def test_settings_do_not_print_addresses() -> None:
    assert "index.example" not in repr(IndexSettings(Index("https://u:p@index.example/")))


# -- pages -------------------------------------------------------------------------------------------

HTML = """<html><head><base href="https://files.index.example/x/"></head><body>
<a href="a-1.0-py3-none-any.whl#sha256={sha}" data-requires-python="&gt;=3.9" data-yanked="broken">a</a>
<a href="/b/a-1.0%2Blocal.tar.gz">b</a> <a href="../">up</a> <a>none</a>
<a href="a-2.0-py3-none-any.whl" data-core-metadata="sha256={sha}" data-yanked>c</a></body></html>"""


def test_html_page() -> None:
    sha = "ab" * 32
    one, two, three = parse_html(HTML.format(sha=sha), A)
    assert one == IndexFile(
        "a-1.0-py3-none-any.whl",
        "https://files.index.example/x/a-1.0-py3-none-any.whl",
        sha256=sha,
        requires_python=">=3.9",
        yanked="broken",
    )
    assert (two.name, two.url) == ("a-1.0+local.tar.gz", "https://files.index.example/b/a-1.0%2Blocal.tar.gz")
    assert (three.sha256, three.metadata, three.metadata_sha256, three.yanked) == (None, True, sha, "")


def test_json_page() -> None:
    sha = "AB" * 32
    entry = {"filename": "a-1-py3-none-any.whl", "url": "../f/a", "hashes": {"sha256": sha}, "size": 7, "yanked": False}
    page = {"meta": {"api-version": "1.4"}, "files": [entry | {"upload-time": "2026-01-01T00:00:00Z"}]}
    (found,) = parse_json(json.dumps(page), f"{A}/a/")
    assert found.url == "https://a.index.example/simple/f/a"
    assert (found.sha256, found.size, found.upload_time, found.yanked) == (sha.lower(), 7, "2026-01-01T00:00:00Z", None)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("[]", "an object"),
        ('{"meta": {"api-version": "2.0"}, "files": []}', "version 2.0 is not known"),
        ('{"files": [{"url": "x"}]}', "filename"),
        ('{"files": [{"filename": "x"}]}', "expected a url"),
    ],
)
def test_json_pages_that_are_not(page: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_json(page, A)


# Of few letters, so that names are parts of others, and what breaks texts is in them.
_TEXTS = st.text(alphabet='ab"\\{}é ', max_size=6)
_DEEP = st.dictionaries(st.sampled_from(["sha256", "filename", "a"]), _TEXTS, max_size=2)


@st.composite
def _entries(draw: st.DrawFn) -> dict[str, object]:
    entry: dict[str, object] = {
        "filename": draw(_TEXTS), "url": f"f/{draw(st.integers(0, 99))}", "hashes": draw(_DEEP),
        "core-metadata": draw(st.booleans() | _DEEP), "yanked": draw(st.booleans() | _TEXTS), "size": 7,
    }  # fmt: skip
    return {key: entry[key] for key in draw(st.permutations(list(entry)))}


@given(st.lists(_entries(), max_size=5), st.booleans(), st.booleans(), st.lists(_TEXTS, max_size=2), st.data())
def test_one_file_of_a_page_is_what_reading_all_of_it_gives(
    entries: list[dict[str, object]], spaced: bool, ascii_only: bool, versions: list[str], data: st.DataObject
) -> None:
    page = {"versions": versions, "files": entries, "meta": {"api-version": "1.3"}}
    separators = None if spaced else (",", ":")
    text = json.dumps(page, separators=separators, ensure_ascii=ascii_only, indent=2 if spaced else None)
    name = data.draw(st.sampled_from([str(e["filename"]) for e in entries]) | _TEXTS if entries else _TEXTS)
    wanted = tuple(file for file in parse_json(text, f"{A}/a/") if file.name == name)
    named = Page(text, f"{A}/a/", html=False)
    assert named.named(name) == wanted
    assert named.files() == tuple(parse_json(text, f"{A}/a/"))
    assert named.named(name) == wanted


def test_of_one_file_of_a_large_page_nothing_else_is_read() -> None:
    """What is amiss with the others is not seen; where the version is not one that we know, all is read."""
    good = {"filename": "a-1-py3-none-any.whl", "url": "a", "hashes": {}}
    text = json.dumps({"files": [{"filename": "broken"}, good], "meta": {"api-version": "1.0"}})
    (found,) = Page(text, f"{A}/a/", html=False).named("a-1-py3-none-any.whl")
    assert found.url == f"{A}/a/a"
    for other in (text.replace('"1.0"', '"2.0"'), text.replace("a-1", "a-2")):
        with pytest.raises(ValueError, match=r"expected a url|version 2"):
            Page(other, A, html=False).named("a-1-py3-none-any.whl")
    assert Page(HTML.format(sha="ab" * 32), A, html=True).named("a-2.0-py3-none-any.whl")[0].metadata
