"""The grammar of subjects, and each kind of them read from a store, a file, a layout or a repository."""

from __future__ import annotations

import os
import stat
import sys
import textwrap
from pathlib import Path

import pytest

from flyte_build.delivery.layout import export_layout
from flyte_build.diffing.comparison import difference
from flyte_build.kernel.errors import FlyteBuildError, InputError, LoadError, LockError
from flyte_build.locks.lockfile import write
from flyte_build.project.loading import load
from flyte_build.store import Store
from flyte_build.workbench.subjects import Context, Subject, parse_subject, read_subject, read_subjects
from tests.store.conftest import Built, filled
from tests.support.recipes import AMD64, lock_of, recipe_of, wheel
from tests.support.repository import Repository

__all__ = ["filled"]

FILE = Path("main.py")
HEX = "ab" * 32


# -- grammar ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"sha256:{HEX}", ("hash", f"sha256:{HEX}", None)),
        ("sha256:abcd", ("hash", "sha256:abcd", None)),
        ("0123456789ab", ("hash", "sha256:0123456789ab", None)),
        ("locks/a.json", ("lock", "locks/a.json", None)),
        ("HEAD~1:locks/a.json", ("revision", "locks/a.json", "HEAD~1")),
        ("HEAD@{2026-01-01 12:00}:a.json", ("revision", "a.json", "HEAD@{2026-01-01 12:00}")),
        (":a.json", ("revision", "a.json", "")),
        ("dir/main.py::fold_env", ("environment", "dir/main.py", "fold_env")),
        ("store:fold_env", ("built", "", "fold_env")),
        ("fold_env", ("built", "", "fold_env")),
        ("oci:some/dir", ("oci", "some/dir", None)),
        ("oci:some/dir:v1", ("oci", "some/dir", "v1")),
        ("oci:dir:sha256:ab", ("oci", "dir", "sha256:ab")),
    ],
)
def test_the_form_alone_decides(text: str, expected: tuple[str, str, str | None]) -> None:
    found = parse_subject(text)
    assert (found.kind, found.place, found.name) == expected


def test_a_name_is_of_the_file_where_one_is_given() -> None:
    assert parse_subject("fold_env", FILE) == Subject("environment", "fold_env", "main.py", "fold_env")
    assert parse_subject("store:fold_env", FILE).kind == "built"
    assert parse_subject("0123456789ab", FILE).kind == "hash"


def test_a_folder_with_a_colon_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    assert parse_subject(f"oci:{tmp_path}/a:b") == Subject("oci", f"oci:{tmp_path}/a:b", f"{tmp_path}/a:b")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        *((text, "--help") for text in ("", "a/b", "x:y", "store:", "::a", "a b")),
        ("main.py", "`main.py::ENV`"),
        (".", "`oci:.`"),
    ],
)
def test_anything_else_is_an_error_with_all_forms(text: str, hint: str) -> None:
    with pytest.raises(InputError, match="expected one of the forms") as caught:
        parse_subject(text)
    assert "REV:PATH.json" in (caught.value.detail or "")
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["sha256:abc", f"sha256:{HEX}a", "sha256:ABCDEF", "sha256:"])
def test_a_digest_has_digits(text: str) -> None:
    with pytest.raises(InputError, match="expected sha256: and 4 to 64 digits"):
        parse_subject(text)


# -- the store -------------------------------------------------------------------------------------


def read(text: str, store: Store, **options: str) -> object:
    return read_subject(parse_subject(text), Context(store, **options))  # type: ignore[arg-type]


def test_an_image_has_many_names(filled: Built) -> None:
    one, store = filled.images[0], filled.store
    names = ["one", "store:one", one.hash, one.hash[:20], one.hash[7:19], filled.built[0].manifest_digest]
    found = [read_subject(parse_subject(name), Context(store, AMD64)) for name in names]
    for contents in found:
        assert difference(found[0], contents).empty
        assert contents.identity == one.hash
        assert set(contents.wheels or ()) == {"alpha", "beta"}
        assert contents.size == sum(layer.size for layer in filled.built[0].layers)
        assert {p.size for p in (contents.wheels or {}).values()} != {None}


def test_two_images_differ_in_packages_files_and_layers(filled: Built) -> None:
    found = difference(*read_subjects(parse_subject("one"), parse_subject("two"), Context(filled.store, AMD64)))
    assert [f"{c.kind} {c.name}" for c in found.wheels or ()] == ["removed beta", "added gamma"]
    site = "opt/venv/lib/python3.11/site-packages"
    assert {f"{site}/beta/data.bin", f"{site}/gamma/data.bin"} <= {c.name for c in found.files or ()}
    assert not any("alpha" in c.name for c in found.files or ())
    assert found.layers is not None
    assert [len(x) for x in (found.layers.shared, found.layers.new, found.layers.gone)] == [1, 1, 1]
    assert {n.part for n in found.not_known} == set()


def test_an_image_by_hash_may_have_lost_its_layers(filled: Built) -> None:
    for path in filled.store.blobs.iterdir():
        path.unlink()
    found = read_subject(parse_subject(filled.images[0].hash), Context(filled.store))
    assert set(found.wheels or ()) == {"alpha", "beta"}
    assert found.size is None
    assert all(layer.files is None for layer in found.layers or ())


def test_a_store_that_may_not_be_written_is_read(filled: Built, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in filled.store.root.rglob("*")}
    folders = [filled.store.root, *(p for p in filled.store.root.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        found = difference(*read_subjects(parse_subject("one"), parse_subject("two"), Context(filled.store, AMD64)))
    finally:
        for folder in folders:
            folder.chmod(stat.S_IRWXU)
    assert not found.empty
    assert {p: p.stat().st_mtime_ns for p in filled.store.root.rglob("*")} == before


def test_an_ambiguous_beginning_lists_what_it_may_mean(filled: Built) -> None:
    [digest] = [filled.images[0].hash]
    other = filled.store.realisations / f"{digest[7:27]}{'0' * 44}"
    for suffix in (".derivation", ".json"):
        source = (filled.store.realisations / digest[7:]).with_suffix(suffix)
        other.with_suffix(suffix).write_bytes(source.read_bytes())
    with pytest.raises(InputError, match=f"is the beginning of 2 digests:\n  {digest[:27]}.*\n  .*one ") as caught:
        read(digest[:20], filled.store)
    assert caught.value.hint == "give more digits"
    read(digest, filled.store)


def test_a_layer_is_no_image(filled: Built) -> None:
    layer = filled.built[0].layers[0]
    for digest in (layer.derivation, layer.digest):
        with pytest.raises(InputError, match="is a layer or another part of an image"):
            read(digest, filled.store)


def test_what_was_never_built_is_said_with_what_was(filled: Built, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are: one-linux-amd64, two-linux-amd64"):
        read("store:three", filled.store)
    with pytest.raises(InputError, match="no image of that environment for linux/arm64"):
        read("one", filled.store, platform="linux/arm64")
    with pytest.raises(InputError, match="found none in"):
        read("sha256:ffff", filled.store)
    with pytest.raises(InputError, match="no image was built here yet"):
        read("one", Store(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_an_exported_image_is_known_by_its_derivation_only_to_the_store_that_made_it(
    filled: Built, tmp_path: Path
) -> None:
    export_layout(filled.store, filled.built, tmp_path / "out")
    subject = parse_subject(f"oci:{tmp_path}/out:one")
    known, foreign = (read_subject(subject, Context(s, AMD64)) for s in (filled.store, Store(tmp_path / "none")))
    assert known.identity == foreign.identity == filled.built[0].manifest_digest
    assert [p.sha256 is None for p in (known.wheels or {}).values()] == [False, False]
    assert [p.sha256 is None for p in (foreign.wheels or {}).values()] == [True, True]
    found = difference(known, foreign)
    assert found.empty, "read from its tar streams, it is what the listings say"
    assert found.files == ()


# -- locks -----------------------------------------------------------------------------------------


def locked(folder: Path, version: str = "1.0") -> Path:
    write(folder, lock_of(recipe_of("a"), [wheel("a", version)], environment="env"))
    return folder / "env.json"


def test_a_lock_file_is_read(tmp_path: Path) -> None:
    found = read_subject(parse_subject(str(locked(tmp_path))), Context(Store(tmp_path / "none")))
    assert (found.wheels or {})["a"].version == "1.0"
    assert found.facts["resolver"] == "uv 0.1"
    with pytest.raises(InputError, match="expected a lock file, found nothing"):
        read(str(tmp_path / "other.json"), Store(tmp_path / "none"))
    with pytest.raises(InputError, match=r"no such platform in the lock: `linux/arm64`; there are: linux/amd64"):
        read(str(tmp_path / "env.json"), Store(tmp_path / "none"), platform="linux/arm64")
    (tmp_path / "env.json").write_text("{}")
    with pytest.raises(LockError, match="expected int"):
        read(str(tmp_path / "env.json"), Store(tmp_path / "none"))


@pytest.mark.integration
def test_a_lock_is_compared_with_its_past(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.folder)
    locked(Path("locks"))
    repository.git("add", ".")
    repository.commit()
    locked(Path("locks"), "2.0")
    past, now = parse_subject("HEAD:locks/env.json"), parse_subject("locks/env.json")
    found = difference(*read_subjects(past, now, Context(Store(repository.folder / "none"))))
    assert [(c.name, c.before and c.before.version, c.after and c.after.version) for c in found.wheels or ()] == [
        ("a", "1.0", "2.0")
    ]
    assert found.layers is not None
    assert [x.title for x in found.layers.new] == ["a 2.0"]
    with pytest.raises(InputError, match="expected the file in revision HEAD, found none") as caught:
        read("HEAD:locks/other.json", Store(repository.folder / "none"))
    assert "there is no locks/other.json here now either" in (caught.value.hint or "")


# -- environments ----------------------------------------------------------------------------------


def project(folder: Path, *packages: str) -> Path:
    """A file with an environment ``env`` that asks for ``packages``, and its lock."""
    folder.mkdir(exist_ok=True)
    path = folder / "flow_of_tests.py"
    path.write_text(
        textwrap.dedent(f"""
            import flyte
            image = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages(*{packages!r})
            env = flyte.TaskEnvironment(name="env", image=image)
        """)
    )
    made = load(path).environments["env"].recipe
    del sys.modules["flow_of_tests"]
    wheels = [wheel("flyte", "2.12.1", step=0), *(wheel(name) for name in packages)]
    write(folder / "lockfiles", lock_of(made, wheels, environment="env"))
    return path


def test_an_environment_is_what_its_file_and_its_lock_say(tmp_path: Path) -> None:
    path = project(tmp_path / "p", "ruff", "pytest")
    store = Store(tmp_path / "none")
    found = read_subject(parse_subject(f"{path}::env"), Context(store))
    assert set(found.wheels or ()) == {"flyte", "ruff", "pytest"}
    assert found.copied == {}
    assert found.size is None
    assert difference(found, read_subject(parse_subject("env", path), Context(store))).empty
    assert not store.root.exists()
    with pytest.raises(LoadError, match="no environment `other`; there are: env"):
        read(f"{path}::other", store)


def test_two_projects_may_call_their_modules_alike(tmp_path: Path) -> None:
    one, two = project(tmp_path / "one", "ruff"), project(tmp_path / "two", "pytest")
    context = Context(Store(tmp_path / "none"))
    found = difference(*read_subjects(parse_subject(f"{one}::env"), parse_subject(f"{two}::env"), context))
    assert [f"{c.kind} {c.name}" for c in found.wheels or ()] == ["added pytest", "removed ruff"]


def test_an_error_of_the_first_file_keeps_its_hint(tmp_path: Path) -> None:
    one, two = project(tmp_path / "one", "ruff"), project(tmp_path / "two", "pytest")
    os.unlink(tmp_path / "one/lockfiles/env.json")
    with pytest.raises(FlyteBuildError, match="missing") as caught:
        read_subjects(parse_subject(f"{one}::env"), parse_subject(f"{two}::env"), Context(Store(tmp_path / "none")))
    assert "flyte-build lock" in (caught.value.hint or "")
