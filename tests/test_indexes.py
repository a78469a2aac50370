"""Package indexes: configuration as pip and uv have it, both kinds of page, and what goes wrong on the way."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.errors import ArtifactError, FetchError, InputError
from flyte_build.indexes import Index, IndexClient, IndexFile, IndexSettings, configured, redact
from flyte_build.indexes.pages import parse_html, parse_json

from .support.index import SimpleIndex
from .support.wheels import build_wheel, stored

A = "https://a.index.example/simple"
B = "https://b.index.example/simple"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SimpleIndex]:
    folder = tmp_path / "wheels"
    folder.mkdir()
    build_wheel(folder, "alpha", "1.0", requires=["beta>=1", 'gamma; extra == "more"'])
    build_wheel(folder, "beta", "1.0")
    with SimpleIndex(folder) as served:
        yield served


def client(index: SimpleIndex | str, **more: object) -> IndexClient:
    url = index if isinstance(index, str) else index.url
    return IndexClient(IndexSettings(Index(url), **more), {}, pause=0.01)  # type: ignore[arg-type]


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


# -- the client --------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [True, False])
def test_files_of_a_project(index: SimpleIndex, as_json: bool) -> None:
    index.json = as_json
    index.python = {"alpha-1.0-py3-none-any.whl": ">=3.9"}
    (found,) = client(index).files("Alpha")
    assert found.sha256 == index.sha256(found.name)
    assert found.requires_python == ">=3.9"
    assert client(index).files("missing") == ()


def test_a_page_is_asked_once(index: SimpleIndex) -> None:
    asking = client(index)
    asking.files("alpha")
    asking.files("alpha")
    assert index.asked == ["GET /simple/alpha/"]


def test_retries_then_succeeds(index: SimpleIndex) -> None:
    index.failing["/simple/"] = iter([503, 0, 429])
    assert len(client(index).files("alpha")) == 1
    assert len(index.asked) == 4


def test_an_index_that_stays_down(index: SimpleIndex) -> None:
    index.failing["/simple/"] = itertools.repeat(503)
    with pytest.raises(FetchError) as e:
        client(index.url.replace("://", "://user:secret@")).files("alpha")
    assert e.value.message == f"GET http://{index.host}/simple/alpha/: 503 Service Unavailable (4 attempts)"
    assert e.value.exit_code == 6


def test_an_index_that_is_not_there() -> None:
    with pytest.raises(FetchError, match=r"GET http://127\.0\.0\.1:9/simple/alpha/: .*refused.* \(4 attempts\)"):
        client("http://127.0.0.1:9/simple").files("alpha")


def test_a_page_that_is_no_index(index: SimpleIndex) -> None:
    index._project = lambda request, project: index._send(request, 200, "application/json", b"<html>")  # type: ignore[method-assign]
    with pytest.raises(FetchError, match="not a page of the Simple API"):
        client(index).files("x")


def test_credentials_in_the_url(index: SimpleIndex) -> None:
    index.login = "user:se/cret"
    with pytest.raises(FetchError, match="401") as e:
        client(index).files("alpha")
    assert "netrc" in str(e.value.hint)
    assert client(index.url.replace("://", "://user:se%2Fcret@")).files("alpha")


def test_credentials_from_uv_and_netrc(index: SimpleIndex, tmp_path: Path) -> None:
    index.login = "user:secret"
    env = {"UV_INDEX_MY_TEAM_USERNAME": "user", "UV_INDEX_MY_TEAM_PASSWORD": "secret"}
    assert IndexClient(IndexSettings(Index(index.url, "my-team")), env).files("alpha")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    assert IndexClient(IndexSettings(Index(index.url)), {"NETRC": str(tmp_path / "netrc")}).files("alpha")


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("said", [True, False])
def test_metadata(index: SimpleIndex, ranges: bool, said: bool) -> None:
    index.ranges, index.metadata, index.sizes = ranges, said, said
    asking = client(index)
    (file,) = asking.files("alpha")
    found = asking.metadata(file)
    assert found.requires == ("beta>=1", 'gamma; extra == "more"')
    assert found.size == (index.folder / file.name).stat().st_size
    assert found.sha256 == index.sha256(file.name)


def test_metadata_of_a_large_wheel_needs_its_ends_only(index: SimpleIndex) -> None:
    build_wheel(index.folder, "large", files={"large/data.bin": bytes(400_000)}, requires=["beta"], compress=stored)
    asking = client(index)
    (file,) = asking.files("large")
    index.asked.clear()
    assert asking.metadata(file).requires == ("beta",)
    assert index.asked == [f"GET /files/{file.name}"]


def test_metadata_far_from_the_end(index: SimpleIndex) -> None:
    late = {"licenses/long.txt": bytes(300_000)}
    path = build_wheel(index.folder, "large", files={}, metadata=late, requires=["beta"], compress=stored)
    asking = client(index)
    (file,) = asking.files("large")
    found = asking.metadata(file)
    assert (found.requires, found.size) == (("beta",), path.stat().st_size)
    assert len([line for line in index.asked if "/files/" in line]) == 2, "the tail and METADATA"


def test_metadata_where_ranges_count_from_the_start_only(index: SimpleIndex) -> None:
    build_wheel(index.folder, "large", files={"large/data.bin": bytes(400_000)}, requires=["beta"], compress=stored)
    index.suffixes = False
    asking = client(index)
    (file,) = asking.files("large")
    index.asked.clear()
    assert asking.metadata(file).requires == ("beta",)
    assert [line.split()[0] for line in index.asked] == ["GET", "HEAD", "GET"]


def test_metadata_is_remembered_by_hash(index: SimpleIndex) -> None:
    (file,) = client(index).files("alpha")
    first = client(index).metadata(file)
    index.asked.clear()
    assert client(index).metadata(file) == first
    assert index.asked == []


def test_a_hash_that_the_index_does_not_state_is_computed(index: SimpleIndex) -> None:
    index.hashes = False
    asking = client(index)
    (file,) = asking.files("alpha")
    assert file.sha256 is None
    assert asking.metadata(file).sha256 == index.sha256(file.name)


def test_a_lie_found_in_a_whole_file(index: SimpleIndex) -> None:
    index.ranges = False
    build_wheel(index.folder, "large", files={"large/data.bin": bytes(400_000)}, compress=stored)
    index.lies["large-1.0-py3-none-any.whl"] = "00" * 32
    asking = client(index)
    (file,) = asking.files("large")
    with pytest.raises(FetchError, match=f"large-1.0-py3-none-any.whl: the index states sha256 {'00' * 32}"):
        asking.metadata(file)


def test_a_file_that_is_no_wheel(index: SimpleIndex) -> None:
    build_wheel(index.folder, "bad", mutate="not-a-zip")
    asking = client(index)
    with pytest.raises(ArtifactError, match=r"bad-1\.0-py3-none-any\.whl: not a wheel"):
        asking.metadata(asking.files("bad")[0])


def test_a_size_that_is_not_the_files(index: SimpleIndex) -> None:
    asking = client(index)
    (file,) = asking.files("alpha")
    wrong = IndexFile(file.name, file.url, file.sha256, size=3)
    with pytest.raises(FetchError, match="the index states 3 bytes"):
        asking.metadata(wrong)


def test_find_links(index: SimpleIndex, tmp_path: Path) -> None:
    asking = IndexClient(IndexSettings(None, find_links=(str(index.folder), str(tmp_path / "missing"))), {})
    (file,) = asking.files("alpha")
    assert asking.metadata(file).sha256 == index.sha256(file.name)


# -- locations ---------------------------------------------------------------------------------------


def test_locate_by_name_and_hash(index: SimpleIndex, tmp_path: Path) -> None:
    name = "alpha-1.0-py3-none-any.whl"
    other = tmp_path / "other"
    other.mkdir()
    build_wheel(other, "alpha", "1.0", requires=["delta"])
    with SimpleIndex(other) as second:
        asking = IndexClient(IndexSettings(Index(second.url), (Index(index.url),)), {})
        (found,) = asking.locate(name, second.sha256(name))
        assert found.url == f"http://{second.host}/files/{name}"
        assert found.stated
        assert list(asking.locate(name, "00" * 32)) == []
        error = asking.nowhere(name, "00" * 32)
        assert f"expected sha256 {'00' * 32}" in error.message
        assert index.sha256(name) in error.message


def test_a_place_without_a_hash_comes_last(index: SimpleIndex, tmp_path: Path) -> None:
    name = "alpha-1.0-py3-none-any.whl"
    with SimpleIndex(index.folder) as silent:
        silent.hashes = False
        asking = IndexClient(IndexSettings(Index(index.url), (Index(silent.url),)), {})
        found = list(asking.locate(name, index.sha256(name)))
    assert [(f.url.split("/")[2], f.stated) for f in found] == [(index.host, True), (silent.host, False)]


def test_an_index_that_is_down_hides_no_other(index: SimpleIndex) -> None:
    name = "alpha-1.0-py3-none-any.whl"
    down = Index("http://127.0.0.1:9/simple")
    asking = IndexClient(IndexSettings(Index(index.url), (down,)), {}, pause=0.01)
    places = asking.locate(name, index.sha256(name))
    assert next(places).url == f"http://{index.host}/files/{name}"
    with pytest.raises(FetchError, match=r"127\.0\.0\.1:9"):
        next(places)


def test_where_it_was_locked_is_a_hint_under_the_same_settings(index: SimpleIndex) -> None:
    asking = client(index)
    (file,) = asking.files("alpha")
    sha = asking.metadata(file).sha256
    index.asked.clear()
    assert next(iter(client(index).locate(file.name, sha))).url == file.url
    assert index.asked == [], "the page was not read"
    elsewhere = client("http://127.0.0.1:9/simple")
    with pytest.raises(FetchError):
        list(elsewhere.locate(file.name, sha))
