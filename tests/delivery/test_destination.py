"""Where images are to go: what is understood, what is refused, and that each goes where it says."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.delivery import Destination, deliver, parse_destination
from flyte_build.kernel.errors import InputError
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store
from flyte_build.store.built import BuiltImage

KINDS = ("oci", "oci-archive", "docker-archive")


@given(st.sampled_from(KINDS), st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_everything_behind_the_first_colon_is_the_path(kind: str, path: str) -> None:
    found = parse_destination(f"{kind}:{path}")
    assert (found.kind, found.path) == (kind, Path(path))
    assert parse_destination(str(found)) == found


@pytest.mark.parametrize("text", ["", "out", "/tmp/out", "docker:x", "OCI:x", "containers-storage:x", ":x"])
def test_what_is_not_known_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(InputError) as e:
        parse_destination(text)
    assert all(f"{kind}:" in e.value.message for kind in KINDS)
    assert f"`{text}`" in e.value.message


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_has_to_be_named(kind: str) -> None:
    with pytest.raises(InputError, match=f"expected `{kind}:(DIR|FILE)`"):
        parse_destination(f"{kind}:")


def test_each_goes_where_it_says(store: Store, built: list[BuiltImage], tmp_path: Path) -> None:
    out = tmp_path / "a/b"
    made = [deliver(store, built, Destination(kind, out / kind), Silent()) for kind in KINDS]
    assert made == [out / kind for kind in KINDS]
    files = {str(p.relative_to(made[0])): p.read_bytes() for p in made[0].rglob("*") if p.is_file()}
    for path, more in ((made[1], set()), (made[2], {"manifest.json", "index.json"})):
        with tarfile.open(path) as tar:
            held = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
        assert {k: v for k, v in held.items() if k not in more} == {k: v for k, v in files.items() if k not in more}
