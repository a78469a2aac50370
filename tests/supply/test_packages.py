"""The inventory: everything of the lock, nothing that is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyte_build.kernel.errors import LockError
from flyte_build.locks.nouns import LockedPlatform
from flyte_build.store import Store
from flyte_build.supply.artifact_metadata import StoredFacts
from flyte_build.supply.licenses import License
from flyte_build.supply.packages import Inventory, inventory
from tests.support.recipes import AMD64, lock_of, recipe_of, wheel
from tests.support.supply import DIGEST, base, everything


def purls(image: Inventory) -> dict[str, str | None]:
    return {p.name: p.purl for p in image.packages}


def test_every_locked_artifact_is_there_with_its_hash(store: Store) -> None:
    lock = everything(store)
    locked = lock.platforms[AMD64]
    found = inventory(lock, AMD64, facts=StoredFacts(store))
    assert {(p.name, p.version, p.file, p.size, p.sha256) for p in found.packages} == {
        (x.name, x.version, x.file, x.size, x.sha256) for x in (*locked.wheels, *locked.debs)
    }
    assert [p.kind for p in found.packages] == ["deb"] * 2 + ["wheel"] * 4


def test_package_urls(store: Store) -> None:
    image = inventory(everything(store), AMD64, digest=DIGEST)
    assert purls(image) == {
        "libfold1": "pkg:deb/debian/libfold1@1:2.0-1%2Bb1?arch=amd64&distro=bookworm&upstream=fold",
        "plain": "pkg:deb/debian/plain@1.0-1?arch=amd64&distro=bookworm",
        "absent": "pkg:pypi/absent@3.0",
        "fold": "pkg:pypi/fold@1.0",
        "own": "pkg:generic/own@1.0?file_name=own-1.0-py3-none-any.whl",
        "vague": "pkg:pypi/vague@2.0",
    }
    assert image.purl == f"pkg:oci/env@{DIGEST}?arch=amd64"
    assert (image.distro, image.suite, image.distro_version) == ("debian", "bookworm", "12")


def test_a_python_of_its_own() -> None:
    image = inventory(lock_of(recipe_of("a", python="3.12"), [wheel("a")], []), AMD64)
    (python, _) = image.packages
    assert (python.kind, python.name, python.version, python.license) == (
        "python",
        "cpython",
        "3.12.4",
        License("Python-2.0"),
    )
    assert python.purl is not None
    assert python.purl.startswith("pkg:generic/cpython@3.12.4?file_name=cpython-3.12.4%2B20260102-x86_64-")
    assert python.ref == f"python:{python.sha256}"
    assert image.complete


def test_what_the_artifacts_say(store: Store) -> None:
    image = inventory(everything(store), AMD64, facts=StoredFacts(store))
    said = {p.name: (p.license, p.source_version) for p in image.packages}
    assert said == {
        "libfold1": (License("MIT"), "1:2.0-1"),
        "plain": (License(), "1.0-1"),
        "absent": (License(), None),
        "fold": (License("MIT OR Apache-2.0"), None),
        "own": (License(), None),
        "vague": (License(names=("BSD",)), None),
    }


def test_facts_are_kept_and_absent_artifacts_counted(store: Store) -> None:
    lock = everything(store)
    first = StoredFacts(store)
    before = inventory(lock, AMD64, facts=first)
    assert first.absent == {lock.platforms[AMD64].wheels[-1].sha256}
    for path in store.artifacts.iterdir():
        path.unlink()
    again = StoredFacts(store)
    assert inventory(lock, AMD64, facts=again) == before
    assert again.absent == first.absent


def test_a_damaged_record_of_facts_is_read_anew(store: Store) -> None:
    lock = everything(store)
    before = inventory(lock, AMD64, facts=StoredFacts(store))
    for text in ("", "[]", '{"expression": 1, "names": [], "source_version": null}'):
        for path in (store.root / "licenses").rglob("*"):
            if path.is_file():
                path.write_text(text)
        assert inventory(lock, AMD64, facts=StoredFacts(store)) == before


def test_a_store_that_cannot_be_written_is_read(store: Store) -> None:
    lock = everything(store)
    (store.root / "licenses").write_text("no folder")
    assert inventory(lock, AMD64, facts=StoredFacts(store)).packages[0].license == License("MIT")


def test_only_an_image_of_locked_artifacts_alone_is_complete(store: Store) -> None:
    plain = lock_of(recipe_of("fold"), [wheel("fold")])
    assert inventory(plain, AMD64).complete
    assert not inventory(everything(store), AMD64).complete
    with_base = replace(plain, platforms={AMD64: LockedPlatform("", "", (), (wheel("fold"),), base())})
    assert not inventory(with_base, AMD64).complete


def test_a_base_brings_its_layers_and_what_was_found_in_it(store: Store) -> None:
    image = inventory(everything(store, with_base=True), AMD64)
    assert image.base is not None
    assert image.base.name == "registry.example:5000/team/python:3.12-slim"
    assert image.base.purl == f"pkg:oci/python@{base().manifest.digest}"
    assert [layer.digest for layer in image.base.layers] == [layer.digest for layer in base().layers]
    brought = {p.name: (p.version, p.purl, p.sha256) for p in image.packages if p.from_base}
    # The base's own `fold` lies below the locked one, which replaces it.
    assert brought == {
        "libc6": ("2.36-9", "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=bookworm", None),
        "zlib1g": ("1:1.2.13", "pkg:deb/debian/zlib1g@1:1.2.13?arch=amd64&distro=bookworm", None),
        "pip": ("24.0", "pkg:pypi/pip@24.0", None),
    }
    assert len({p.ref for p in image.packages}) == len(image.packages)


def test_a_base_of_which_nothing_was_read_has_only_layers(store: Store) -> None:
    lock = lock_of(recipe_of("fold"), [wheel("fold")])
    bare = LockedPlatform("", "", (), (wheel("fold"),), replace(base(), facts=None))
    image = inventory(replace(lock, platforms={AMD64: bare}), AMD64)
    assert [p.name for p in image.packages] == ["fold"]
    assert (image.distro, image.suite, image.distro_version) == (None, None, None)
    assert image.base is not None
    assert len(image.base.layers) == 2


def test_debian_packages_of_a_base_of_unknown_release_have_no_purl(store: Store) -> None:
    facts = base().facts
    assert facts is not None
    nameless = replace(base(), facts=replace(facts, system=None))
    lock = replace(everything(store), platforms={AMD64: LockedPlatform("", "", (), (), nameless)})
    assert purls(inventory(lock, AMD64)) == {
        "libc6": None,
        "zlib1g": None,
        "pip": "pkg:pypi/pip@24.0",
        "fold": "pkg:pypi/fold@0.1",
    }


def test_another_platform_is_an_error() -> None:
    with pytest.raises(LockError, match="the lock is not for linux/arm64, but for linux/amd64"):
        inventory(lock_of(recipe_of("a"), [wheel("a")]), "linux/arm64")
