"""uv and pip-tools, the real ones, against an index on the loopback: the same question has the same answer."""

from __future__ import annotations

import importlib.metadata
import itertools
import platform
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from flyte_build.kernel.errors import FetchError, FlyteBuildError, InputError, RefusedError
from flyte_build.locking.pypi import NoSolution, Question, Resolver, named
from flyte_build.locking.pypi.pip_tools import PipTools
from flyte_build.locking.wheels import Target
from flyte_build.sources.indexes import Index, IndexSettings

from ..support.index import SimpleIndex
from ..support.locking import BOOKWORM, HOST_PLATFORM, HOST_PYTHON, publish, settings

BOTH = pytest.mark.parametrize("name", ["uv", pytest.param("pip-tools", marks=pytest.mark.slow)])
HERE = Target(HOST_PLATFORM, HOST_PYTHON, platform.python_version(), (2, 36))


def ask(index: SimpleIndex, *requirements: str, resolver: str | Resolver = "uv", **more: object) -> dict[str, str]:
    chosen = named(resolver) if isinstance(resolver, str) else resolver
    target = HERE if chosen.name == "pip-tools" else BOOKWORM
    fields = {"target": target, "settings": settings(index), **more}
    answer = chosen.resolve(Question(requirements=requirements, **fields))  # type: ignore[arg-type]
    return {pin.name: pin.version for pin in answer.pins.values()}


@BOTH
def test_the_newest_that_fits(index: SimpleIndex, name: str) -> None:
    publish(index.folder, "a 1.0", "a 1.1: b<2", "b 1.0", "b 1.9: C_c[x]", "b 2.0", "c.c 1.0: d; extra=='x'", "d 1")
    publish(index.folder, "a 2.0b1", "c.c 3.0 [cp311-cp311-win_amd64]")
    assert ask(index, "A>=1", resolver=name) == {"a": "1.1", "b": "1.9", "c-c": "1.0", "d": "1"}


@BOTH
def test_preferences_are_kept_where_they_fit(index: SimpleIndex, name: str) -> None:
    publish(index.folder, "a 1.0", "a 1.1", "b 1.0", "b 1.1", "b 2.0")
    kept = {"a": "1.0", "b": "1.0", "gone": "3"}
    assert ask(index, "a", "b>1", resolver=name, preferences=kept) == {"a": "1.0", "b": "2.0"}


@BOTH
def test_constraints_and_pre_releases(index: SimpleIndex, name: str) -> None:
    publish(index.folder, "a 1.0", "a 1.5: b", "a 2.0", "b 1.0", "b 2.0a1", "c 1")
    assert ask(index, "a", resolver=name, constraints=("a<2", "c==9")) == {"a": "1.5", "b": "1.0"}
    assert ask(index, "b", resolver=name, pre=True) == {"b": "2.0a1"}


@BOTH
def test_yanked_and_requires_python(index: SimpleIndex, name: str) -> None:
    publish(index.folder, "a 1.0", "a 1.1", "a 1.2")
    index.yanked["a-1.2-py3-none-any.whl"] = "broken"
    index.python["a-1.1-py3-none-any.whl"] = ">=3.99"
    assert ask(index, "a", resolver=name) == {"a": "1.0"}
    pinned = Question(HERE, ("a==1.2",), settings(index))
    answer = named(name).resolve(pinned)
    assert answer.pins["a"].version == "1.2"
    assert any("yanked" in warning for warning in answer.warnings)


@BOTH
def test_a_local_wheel(index: SimpleIndex, name: str, tmp_path: Path) -> None:
    publish(tmp_path / "own", "mine 1.0: a")
    publish(index.folder, "a 1.0", "mine 9.0")
    wheel = tmp_path / "own" / "mine-1.0-py3-none-any.whl"
    assert ask(index, resolver=name, wheels=(wheel,))["a"] == "1.0"


@BOTH
def test_an_html_index_without_hashes(index: SimpleIndex, name: str) -> None:
    publish(index.folder, "a 1.0: b", "b 1.0")
    index.json = index.hashes = False
    assert ask(index, "a", resolver=name) == {"a": "1.0", "b": "1.0"}


@BOTH
def test_find_links_alone(index: SimpleIndex, name: str) -> None:
    publish(index.folder, "a 1.0: b", "b 1.0")
    alone = IndexSettings(None, find_links=(str(index.folder), "/nowhere/at/all"))
    assert ask(index, "a", resolver=name, settings=alone) == {"a": "1.0", "b": "1.0"}
    assert index.asked == []


@BOTH
def test_two_indexes(index: SimpleIndex, name: str, tmp_path: Path) -> None:
    publish(index.folder, "a 1.0: b")
    publish(tmp_path / "own", "b 1.0")
    with SimpleIndex(tmp_path / "own") as own:
        joined = settings(index).for_recipe([], [own.url], keep_default=True)
        assert ask(index, "a", resolver=name, settings=joined) == {"a": "1.0", "b": "1.0"}
        isolated = IndexSettings(None, find_links=(str(index.folder),)).for_recipe([], [own.url], keep_default=True)
        index.asked.clear()
        assert ask(index, "a", resolver=name, settings=isolated) == {"a": "1.0", "b": "1.0"}
    assert index.asked == []


# -- what has no answer ------------------------------------------------------------------------------


@BOTH
def test_a_package_that_does_not_exist(index: SimpleIndex, name: str) -> None:
    with pytest.raises(NoSolution) as e:
        ask(index, "no-such-thing", resolver=name)
    assert e.value.exit_code == 5
    assert e.value.message.startswith("no versions of `no-such-thing` fit together on linux/")
    assert e.value.detail is not None
    assert "no-such-thing" in e.value.detail


@BOTH
def test_versions_without_a_solution_in_the_resolvers_words_once(index: SimpleIndex, name: str) -> None:
    publish(index.folder, "a 1.0: c<2", "b 1.0: c>=2", "c 1.0", "c 2.0")
    with pytest.raises(NoSolution) as e:
        ask(index, "a", "b", resolver=name)
    detail = str(e.value.detail)
    assert "c<2" in detail
    assert "c>=2" in detail
    assert "Traceback" not in detail
    assert "/tmp" not in detail
    lines = detail.splitlines()
    assert len(lines) == len(set(lines)) <= 41


@BOTH
def test_no_wheel_for_the_platform_is_no_version(index: SimpleIndex, name: str) -> None:
    publish(index.folder, "a 1.0 [cp311-cp311-win_amd64]")
    with pytest.raises(NoSolution, match="no versions of `a` fit together"):
        ask(index, "a", resolver=name)


def test_source_distributions_alone_are_told(index: SimpleIndex) -> None:
    (index.folder / "old-1.0.tar.gz").write_bytes(b"never opened")
    with pytest.raises(NoSolution, match="no versions of `old` fit together") as e:
        ask(index, "old")
    assert "source distributions only" in str(e.value.hint)


@BOTH
def test_an_index_that_is_down(index: SimpleIndex, name: str) -> None:
    down = IndexSettings(Index("http://user:secret@127.0.0.1:9/simple"), pip=(("retries", "0"),))
    with pytest.raises(FetchError) as e:
        ask(index, "a", resolver=name, settings=down)
    said = f"{e.value.message}\n{e.value.detail}"
    assert "127.0.0.1:9/simple/a/" in said
    assert "refused" in said
    assert "secret" not in said


@BOTH
def test_an_index_with_errors(index: SimpleIndex, name: str) -> None:
    index.failing["/simple/"] = itertools.repeat(503)
    with pytest.raises(FetchError) as e:
        ask(index, "a", resolver=name, settings=replace(settings(index), pip=(("retries", "0"),)))
    assert "503" in f"{e.value.message}\n{e.value.detail}"


# -- nothing but the question ------------------------------------------------------------------------


@BOTH
def test_the_tools_own_configuration_chooses_nothing(
    index: SimpleIndex, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(index.folder, "a 1.0", "a 1.1")
    (tmp_path / "c.txt").write_text("a<1.1\n")
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/simple\n")
    (tmp_path / "uv.toml").write_text('resolution = "lowest"\n')
    for variable, value in {
        "UV_CONSTRAINT": str(tmp_path / "c.txt"),
        "UV_RESOLUTION": "lowest",
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_EXCLUDE_NEWER": "2001-01-01",
        "UV_CONFIG_FILE": str(tmp_path / "uv.toml"),
        "PIP_CONSTRAINT": str(tmp_path / "c.txt"),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_NO_INDEX": "1",
        "VIRTUAL_ENV": str(tmp_path),
    }.items():
        monkeypatch.setenv(variable, value)
    answer = named(name).resolve(Question(HERE, ("a",), settings(index)))
    assert {pin.name: pin.version for pin in answer.pins.values()} == {"a": "1.1"}
    told = {"uv": "UV_CONSTRAINT, UV_EXCLUDE_NEWER, UV_RESOLUTION", "pip-tools": "PIP_CONSTRAINT"}[name]
    assert [w for w in answer.warnings if w.startswith(f"ignored {told}: ")]


def test_uv_resolves_for_the_image_not_the_host(index: SimpleIndex) -> None:
    publish(
        index.folder, "a 1.0: b; platform_machine=='aarch64'", "b 1.0 [cp313-cp313-manylinux_2_28_aarch64]", "b 2.0"
    )
    (index.folder / "b-2.0-py3-none-any.whl").rename(index.folder / "b-2.0-cp311-cp311-manylinux_2_28_x86_64.whl")
    arm = Target("linux/arm64", "3.13", "3.13.5", (2, 41))
    assert ask(index, "a", target=arm) == {"a": "1.0", "b": "1.0"}
    assert ask(index, "a") == {"a": "1.0"}


@BOTH
def test_cut_off(index: SimpleIndex, name: str) -> None:
    publish(index.folder, "a 1.0", "a 2.0")
    index.uploaded = {
        "a-1.0-py3-none-any.whl": "2026-01-01T00:00:00Z",
        "a-2.0-py3-none-any.whl": "2026-02-01T00:00:00Z",
    }
    resolver = named(name)
    if isinstance(resolver, PipTools) and resolver.pip < Version("26.0"):
        with pytest.raises(RefusedError, match="a cut-off needs pip 26"):
            ask(index, "a", resolver=resolver, cutoff="2026-01-15T00:00:00Z")
        return
    assert ask(index, "a", resolver=resolver, cutoff="2026-01-15T00:00:00Z") == {"a": "1.0"}
    assert ask(index, "a", resolver=resolver, cutoff="2026-02-01T00:00:01Z") == {"a": "2.0"}
    with pytest.raises(NoSolution) as e:
        ask(index, "a", resolver=resolver, cutoff="2025-01-01T00:00:00Z")
    assert "try a later cut-off" in str(e.value.hint)


def test_torch_backend_auto_is_refused(index: SimpleIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_TORCH_BACKEND", "auto")
    with pytest.raises(RefusedError, match="by this machine's GPU"):
        ask(index, "a")


def test_pip_tools_refuses_other_targets(index: SimpleIndex) -> None:
    other = Target(
        "linux/arm64" if HERE.platform == "linux/amd64" else "linux/amd64", HOST_PYTHON, f"{HOST_PYTHON}.0", (2, 36)
    )
    for target in (other, Target(HERE.platform, "3.99", "3.99.0", (2, 36))):
        with pytest.raises(RefusedError, match="pip-tools resolves for") as e:
            ask(index, "a", resolver="pip-tools", target=target)
        assert "lock with uv" in str(e.value.hint)


def test_pip_tools_cut_off_needs_a_pip_that_has_one(index: SimpleIndex) -> None:
    old = PipTools("7.6.2", Version("25.3"))
    with pytest.raises(RefusedError, match=r"a cut-off needs pip 26\.0 or newer, found 25\.3"):
        ask(index, "a", resolver=old, cutoff="2026-01-15T00:00:00Z")


def test_pip_tools_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(RefusedError, match="needs `pip-tools`, which is not installed") as e:
        named("pip-tools")
    assert "flyte-build[pip-tools]" in str(e.value.hint)


def test_a_resolver_that_is_not_known() -> None:
    with pytest.raises(InputError, match="expected uv or pip-tools"):
        named("poetry")


def test_uvs_unexpected_failures_are_not_called_unsolvable(index: SimpleIndex) -> None:
    with pytest.raises(FlyteBuildError) as e:
        ask(index, "a", cutoff="not a date")
    assert not isinstance(e.value, NoSolution)
    assert "exit code 2" in e.value.message
