"""Hashed requirements and pylock.toml: golden texts, and what pip and uv make of them."""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.pylock import Pylock

from flyte_build.exporting.pylock import pylock_text
from flyte_build.exporting.requirements import requirements_text
from flyte_build.exporting.rows import MACHINES, chosen_platforms, rows
from flyte_build.exporting.wheels import wheels_of
from flyte_build.kernel.errors import InputError
from flyte_build.locks.nouns import Lock, LockedPlatform, LockedWheel
from flyte_build.recipe import PipInstall, Platform
from tests.support.recipes import lock_of, recipe_of, wheel

AMD64, ARM64 = "linux/amd64", "linux/arm64"


def digits(digit: str) -> str:
    return digit * 64


def native(name: str, version: str, machine: str, digit: str) -> LockedWheel:
    file = f"{name}-{version}-cp311-cp311-manylinux_2_17_{machine}.whl"
    return replace(wheel(name, version), file=file, sha256=digits(digit))


def pure(name: str, version: str, digit: str) -> LockedWheel:
    return replace(wheel(name, version), sha256=digits(digit))


def lock_for(environment: str = "env", **platforms: list[LockedWheel]) -> Lock:
    """A lock with these wheels; ``amd64=[…], arm64=[…]``."""
    names: dict[str, Platform] = {"amd64": "linux/amd64", "arm64": "linux/arm64"}
    asked = replace(recipe_of(), platforms=tuple(names[p] for p in platforms))
    made = lock_of(asked, environment=environment)
    held = {
        names[p]: LockedPlatform("bookworm", "20261101T000000Z", (), tuple(wheels)) for p, wheels in platforms.items()
    }
    return replace(made, platforms=held)


@pytest.fixture
def both() -> Lock:
    """Everything that can differ: bytes, versions, presence."""
    return lock_for(
        amd64=[
            pure("zlib-ng", "1.0", "1"),
            native("numpy", "2.0", "x86_64", "b"),
            pure("moved", "1.0", "3"),
            pure("only-amd", "1.0+cpu", "4"),
        ],
        arm64=[pure("moved", "2.0", "5"), native("numpy", "2.0", "aarch64", "a"), pure("zlib-ng", "1.0", "1")],
    )


GOLDEN = f"""\
# The wheels of env, for Python 3.11 on linux/amd64 and linux/arm64.
# Written by `flyte-build export requirements` from its lock: change that, not this.
moved==1.0 ; platform_machine == "x86_64" \\
    --hash=sha256:{digits("3")}
moved==2.0 ; platform_machine == "aarch64" \\
    --hash=sha256:{digits("5")}
numpy==2.0 \\
    --hash=sha256:{digits("a")} \\
    --hash=sha256:{digits("b")}
only-amd==1.0+cpu ; platform_machine == "x86_64" \\
    --hash=sha256:{digits("4")}
zlib-ng==1.0 \\
    --hash=sha256:{digits("1")}
"""


def test_markers_are_there_only_where_platforms_differ(both: Lock) -> None:
    assert requirements_text(both, [AMD64, ARM64]) == GOLDEN


def test_one_platform_needs_no_markers_and_has_its_own_hashes_only(both: Lock) -> None:
    text = requirements_text(both, [ARM64])
    assert " ; " not in text
    assert digits("b") not in text
    assert digits("a") in text
    assert "only-amd" not in text
    assert "on linux/arm64.\n" in text


def test_the_text_does_not_depend_on_the_order_of_the_lock(both: Lock) -> None:
    shuffled = {
        name: replace(platform, wheels=tuple(reversed(platform.wheels)))
        for name, platform in reversed(both.platforms.items())
    }
    other = replace(both, platforms=shuffled)
    assert requirements_text(other, chosen_platforms(other, None)) == GOLDEN
    assert pylock_text(other, [AMD64, ARM64], "w") == pylock_text(both, [AMD64, ARM64], "w")


def test_local_wheels_are_named_as_such_and_no_index_ever() -> None:
    own = wheel("mine")
    recipe = recipe_of(
        PipInstall(("numpy",), index="https://index.example/simple", wheels=(f"vendor/{own.file}",)),
    )
    text = requirements_text(lock_of(recipe, [own, wheel("numpy")]), [AMD64])
    assert f"# {own.file}: no index has it; name its folder with pip's --find-links\nmine==1.0 \\\n" in text
    assert "index.example" not in text
    assert "\n--" not in text, "no option"


def test_a_platform_that_the_lock_has_not(both: Lock) -> None:
    assert chosen_platforms(both, None) == chosen_platforms(both, "all") == [AMD64, ARM64]
    assert chosen_platforms(both, ARM64) == [ARM64]
    with pytest.raises(InputError, match="is not for linux/riscv64, but for linux/amd64, linux/arm64"):
        chosen_platforms(both, "linux/riscv64")


def test_two_wheels_of_one_name_do_not_fit_one_folder() -> None:
    lock = lock_for(amd64=[pure("a", "1.0", "1")], arm64=[pure("a", "1.0", "2")])
    with pytest.raises(InputError) as caught:
        wheels_of(lock, [AMD64, ARM64])
    assert "a-1.0-py3-none-any.whl" in caught.value.message
    assert [w.sha256 for w in wheels_of(lock, [ARM64])] == [digits("2")]


# -- pylock.toml -----------------------------------------------------------------------------------


def parsed(lock: Lock, platforms: list[str], folder: str = "wheels") -> Pylock:
    found = Pylock.from_dict(tomllib.loads(pylock_text(lock, platforms, folder)))
    found.validate()
    return found


def test_pylock_is_valid_and_says_the_same(both: Lock) -> None:
    found = parsed(both, [AMD64, ARM64])
    assert str(found.requires_python) == "==3.11.*"
    said = {
        (p.name, str(p.version), str(p.marker) if p.marker else None): [(w.path, w.hashes["sha256"]) for w in p.wheels]
        for p in found.packages
        if p.wheels is not None
    }
    expected = {
        (r.name, r.version, r.marker): [(f"wheels/{w.file}", w.sha256) for w in r.wheels]
        for r in rows(both, [AMD64, ARM64])
    }
    assert said == expected
    assert all(w.url is None and w.size == 1000 for p in found.packages for w in p.wheels or ())


def test_pylock_in_the_folder_of_the_wheels(both: Lock) -> None:
    [first, *_] = parsed(both, [AMD64], ".").packages
    assert first.wheels is not None
    assert first.wheels[0].path == "moved-1.0-py3-none-any.whl"


def test_pylock_needs_a_python(both: Lock) -> None:
    recipe = {**both.recipe, "python": None}  # type: ignore[dict-item]
    with pytest.raises(InputError, match="no Python"):
        pylock_text(replace(both, recipe=recipe), [AMD64], "wheels")


# -- for every lock --------------------------------------------------------------------------------

_WHEELS = st.dictionaries(
    st.sampled_from(["a", "b-c", "d"]), st.tuples(st.sampled_from(["1.0", "2.0"]), st.sampled_from("123")), max_size=3
)


@given(_WHEELS, _WHEELS)
def test_on_each_machine_exactly_what_is_locked_for_it_applies(
    amd64: dict[str, tuple[str, str]], arm64: dict[str, tuple[str, str]]
) -> None:
    held = {
        platform: [pure(name, version, digit) for name, (version, digit) in wheels.items()]
        for platform, wheels in (("amd64", amd64), ("arm64", arm64))
    }
    lock = lock_for(**held)
    for platform, wheels in ((AMD64, amd64), (ARM64, arm64)):
        machine = {"platform_machine": MACHINES[platform]}
        applies = [r for r in rows(lock, [AMD64, ARM64]) if r.marker is None or Marker(r.marker).evaluate(machine)]
        assert {r.name: r.version for r in applies} == {name: version for name, (version, _) in wheels.items()}
        assert all(digits(wheels[r.name][1]) in {w.sha256 for w in r.wheels} for r in applies)
    for one, other in itertools.pairwise(rows(lock, [AMD64, ARM64])):
        assert (one.name, one.version) < (other.name, other.version)


def test_the_folder_of_wheels_keeps_what_is_right_and_replaces_what_is_not(tmp_path: Path) -> None:
    import hashlib

    from flyte_build.exporting.wheels import put_wheels
    from flyte_build.kernel.errors import FetchError
    from flyte_build.store import Store

    one = replace(wheel("a"), sha256=hashlib.sha256(b"a wheel").hexdigest(), size=7)
    store = Store(tmp_path / "store")
    source = store.artifact_path(one.sha256)
    source.parent.mkdir(parents=True)
    source.write_bytes(b"a wheel")
    folder = tmp_path / "deep" / "wheels"
    [path] = put_wheels(folder, {one: source})
    before = path.stat().st_ino
    assert path == folder / one.file
    put_wheels(folder, {one: source})
    assert path.stat().st_ino == before
    path.unlink()
    path.write_bytes(b"another")
    (folder / "notes.txt").write_text("mine")
    put_wheels(folder, {one: source})
    assert path.read_bytes() == b"a wheel"
    assert sorted(p.name for p in folder.iterdir()) == [one.file, "notes.txt"]
    source.unlink()
    source.write_bytes(b"damaged")
    path.unlink()
    with pytest.raises(FetchError, match=f"{one.file}: .* expected SHA-256"):
        put_wheels(folder, {one: source})
    assert [p.name for p in store.corrupt.iterdir()] == [f"artifacts-sha256-{one.sha256}.1"]
    assert sorted(p.name for p in folder.iterdir()) == ["notes.txt"]
