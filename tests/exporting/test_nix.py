"""The flake of a project, where flyte-build's own is, and how artifacts get into a Nix store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.deriving.derivation import Artifact
from flyte_build.exporting import nix
from flyte_build.exporting.nix import flake_text, own_flake
from flyte_build.exporting.nixstore import NixStore, artifacts_of, store_path
from flyte_build.kernel.errors import InputError, StoreError
from tests.support.recipes import AMD64, deb, lock_of, recipe_of, sha, wheel

REF = "git+https://git.example/flyte-build"


def images(folder: str, lockfiles: str, root: str) -> str:
    text = flake_text(REF, Path(folder), Path(lockfiles), Path(root))
    assert f'inputs.flyte-build.url = "{REF}";' in text
    return text.partition("lib.images ")[2].partition(";\n")[0].removesuffix("; }")


def test_three_lines() -> None:
    assert flake_text(REF, Path("/p"), Path("/p/lockfiles"), Path("/p")) == (
        "{\n"
        f'  inputs.flyte-build.url = "{REF}";\n'
        "  outputs = { self, flyte-build }: "
        "{ packages = flyte-build.lib.images { lockfiles = ./lockfiles; src = self; }; };\n"
        "}\n"
    )


def test_folders_below_the_flakes() -> None:
    assert images("/p", "/p/a/lockfiles", "/p/a") == "{ lockfiles = ./a/lockfiles; src = ./a; }"
    assert images("/p", "/p", "/p/a b") == '{ lockfiles = ./.; src = (./. + "/a b"); }'
    assert images("/p", "/p/${x}", "/p") == '{ lockfiles = (./. + "/\\${x}"); src = self; }'


@pytest.mark.parametrize(("lockfiles", "root"), [("/q/lockfiles", "/p"), ("/p/lockfiles", "/q")])
def test_a_flake_sees_nothing_outside_of_its_folder(lockfiles: str, root: str) -> None:
    with pytest.raises(InputError, match=r"/p: expected a folder that holds the (locks|project), which are in /q"):
        flake_text(REF, Path("/p"), Path(lockfiles), Path(root))


def installed(monkeypatch: pytest.MonkeyPatch, recorded: str | None) -> None:
    class Fake:
        def read_text(self, name: str) -> str | None:
            return recorded if name == "direct_url.json" else None

    monkeypatch.setattr(nix, "distribution", lambda _: Fake())


def test_where_flyte_build_came_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    vcs = {"url": "https://git.example/f", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}
    installed(monkeypatch, json.dumps(vcs))
    assert own_flake() == "git+https://git.example/f?rev=c0ffee"
    (tmp_path / "flake.nix").touch()
    installed(monkeypatch, json.dumps({"url": tmp_path.as_uri(), "dir_info": {"editable": True}}))
    assert own_flake() == f"git+{tmp_path.as_uri()}"


@pytest.mark.parametrize("recorded", [None, "{", "[]", '{"url": "file:///nowhere", "dir_info": {}}', '{"url": 1}'])
def test_what_cannot_be_told_is_asked_for(recorded: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, recorded)
    with pytest.raises(InputError) as e:
        own_flake()
    assert "--flake" in str(e.value.hint)


Program = Callable[[str], NixStore]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A ``nix-store`` that is a shell script."""

    def make(script: str) -> NixStore:
        path = tmp_path / "nix-store"
        path.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n{script}\n')
        path.chmod(0o755)
        return NixStore(str(path))

    return make


def artifact(name: str, content: str) -> Artifact:
    return Artifact(sha(content), len(content), name)


def test_only_what_the_store_lacks(program: Program) -> None:
    some = [artifact("a.whl", "a"), artifact("b~1.deb", "b")]
    store = program(f"echo {store_path('b~1.deb', sha('b'))}; exit 1")
    assert store.missing(some) == some[1:]
    assert program("true").missing(some) == []


def test_files_are_added_under_their_names(program: Program, tmp_path: Path) -> None:
    some = [artifact("a.whl", "a"), artifact("a.whl", "other"), artifact("b~1.deb", "b")]
    paths = {}
    for one in some:
        paths[one.sha256] = tmp_path / one.sha256
    for name in ("a", "other", "b"):
        (tmp_path / sha(name)).write_text(name)
    script = 'shift 2; for f in "$@"; do case $(basename $f)$(cat $f) in\n'
    for one, content in zip(some, ("a", "other", "b"), strict=True):
        script += f"{one.file.replace('~', '-')}{content}) echo {store_path(one.file, one.sha256)};;\n"
    store = program(script + "esac; done")
    assert store.add(some, paths, tmp_path / "scratch") == sum(a.size for a in some)
    assert (tmp_path / "calls").read_text().count("--add-fixed sha256") == 2, "one name, two contents: not at once"
    assert not (tmp_path / "scratch").exists()


def test_another_path_than_ours_is_an_error(program: Program, tmp_path: Path) -> None:
    one = artifact("a.whl", "a")
    (tmp_path / "a").write_text("a")
    with pytest.raises(StoreError, match=r"a\.whl: expected .* in the Nix store, is /nix/store/other"):
        program("echo /nix/store/other").add([one], {one.sha256: tmp_path / "a"}, tmp_path / "scratch")


def test_what_nix_says_is_shown(program: Program) -> None:
    with pytest.raises(StoreError) as e:
        program("echo 'error: no users' >&2; exit 1").missing([artifact("a.whl", "a")])
    assert "build-users-group" in str(e.value.hint)
    assert e.value.detail == "error: no users"


def test_without_nix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="nix-store is not on the PATH"):
        NixStore.here()
    assert os.environ["PATH"] == str(tmp_path)


def test_artifacts_of_several_locks_are_named_once() -> None:
    one = lock_of(recipe_of("a"), [wheel("a")], [deb("x")])
    two = lock_of(recipe_of("a", platform="linux/arm64"), [wheel("a"), wheel("b")], [deb("x")])
    assert [a.file for a in artifacts_of([one, two])] == [deb("x").file, wheel("a").file, wheel("b").file]
    assert [a.file for a in artifacts_of([one, two], AMD64)] == [deb("x").file, wheel("a").file]
