"""Where images are read from is configuration, pair by pair."""

from __future__ import annotations

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.registry.reference import Reference
from flyte_build.sources.registry_mirrors import VARIABLE, located, located_name

MIRRORS = {VARIABLE: "docker.io=mirror.example:5000/hub  registry.example=127.0.0.1:5001"}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("python:3.12", "mirror.example:5000/hub/library/python:3.12"),
        ("docker.io/team/x", "mirror.example:5000/hub/team/x"),
        ("registry.example/a/b:1", "127.0.0.1:5001/a/b:1"),
        (f"registry.example/a@sha256:{'0' * 64}", f"127.0.0.1:5001/a@sha256:{'0' * 64}"),
        ("registry.example:443/a:1", "registry.example:443/a:1"),
        ("other.example/a:1", "other.example/a:1"),
    ],
)
def test_a_name_is_read_at_its_mirror(name: str, place: str) -> None:
    assert str(located(Reference.parse(name), MIRRORS)) == place


def test_without_the_variable_a_name_is_itself() -> None:
    assert located_name("registry.example/a", {}) == "registry.example/a"
    assert located_name("registry.example/a", MIRRORS) == "127.0.0.1:5001/a"


@pytest.mark.parametrize("text", ["docker.io", "docker.io=", "=mirror.example"])
def test_what_is_no_pair_is_named(text: str) -> None:
    with pytest.raises(InputError, match=r"\$FLYTE_BUILD_REGISTRY_MIRROR: expected pairs"):
        located(Reference.parse("a"), {VARIABLE: text})
