"""What an environment needs of the universe, and since which step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.kernel.errors import RefusedError, ResolutionError
from flyte_build.locking.pypi.closure import Distribution, closure

from ..support.locking import BOOKWORM


def universe(**requires: list[str]) -> dict[str, Distribution | Exception]:
    return {name: Distribution(name, "1.0", tuple(wanted)) for name, wanted in requires.items()}


def steps(pinned: dict[str, Distribution | Exception], *wanted: str) -> dict[str, int]:
    return closure([text.split() for text in wanted], pinned, BOOKWORM, "environment e")


def test_the_earliest_step_whose_closure_holds_it() -> None:
    pinned = universe(flyte=["click"], click=[], a=["b"], b=["click"], c=["b", "d"], d=["a"])
    assert steps(pinned, "flyte", "a", "c") == {"flyte": 0, "click": 0, "a": 1, "b": 1, "c": 2, "d": 2}
    assert steps(pinned, "flyte", "c", "a") == {"flyte": 0, "click": 0, "c": 1, "b": 1, "d": 1, "a": 1}


def test_only_what_is_needed() -> None:
    assert steps(universe(a=[], b=[]), "", "a") == {"a": 1}


def test_extras_widen_at_the_step_that_asks_for_them() -> None:
    pinned = universe(a=['b; extra == "More_x"', "c"], b=[], c=[])
    assert steps(pinned, "a", "a[more-x]") == {"a": 0, "c": 0, "b": 1}


def test_extras_that_require_their_own_package() -> None:
    pinned = universe(a=['a[y]; extra == "all"', 'b; extra == "y"'], b=["a[all]"])
    assert steps(pinned, "a[all]") == {"a": 0, "b": 0}


@pytest.mark.parametrize(
    ("marker", "applies"),
    [
        ('python_version < "3.12"', True),
        ('python_full_version >= "3.11.4"', False),
        ('sys_platform == "win32"', False),
        ('platform_machine == "x86_64"', True),
        ('platform_machine == "aarch64" or os_name == "nt"', False),
        ('platform_python_implementation != "PyPy"', True),
    ],
)
def test_markers_are_judged_for_the_image(marker: str, applies: bool) -> None:
    assert steps(universe(a=[f"b; {marker}"], b=[]), "a") == ({"a": 0, "b": 0} if applies else {"a": 0})


def test_a_requirement_that_the_resolver_left_out() -> None:
    pinned = universe(a=['b; python_full_version < "3.11.4"'])
    with pytest.raises(ResolutionError) as e:
        steps(pinned, "a")
    assert 'a 1.0 requires `b; python_full_version < "3.11.4"` on linux/amd64' in e.value.message
    assert "lock with uv" in str(e.value.hint)


def test_a_version_that_does_not_fit() -> None:
    with pytest.raises(ResolutionError, match=r"a 1\.0 requires `b>=2`, the resolver chose 1\.0"):
        steps(universe(a=["b>=2"], b=[]), "a")


def test_a_python_that_does_not_fit() -> None:
    pinned = {"a": Distribution("a", "1.0", (), ">=3.11.4")}
    with pytest.raises(ResolutionError, match=r"a 1\.0 requires Python >=3\.11\.4, the image has 3\.11\.2"):
        steps(pinned, "a")


def test_locations_are_refused() -> None:
    pinned = universe(a=["b @ https://index.example/b-1-py3-none-any.whl"], b=[])
    with pytest.raises(RefusedError, match=r"a 1\.0 requires b from a location"):
        steps(pinned, "a")
    with pytest.raises(RefusedError, match="installs from a location") as e:
        steps(pinned, "c@git+https://user:secret@index.example/c.git")
    assert "secret" not in e.value.message


def test_an_error_counts_only_where_it_is_needed() -> None:
    pinned = {**universe(a=[]), "b": ResolutionError("b 1.0: no wheel")}
    assert steps(pinned, "a") == {"a": 0}
    with pytest.raises(ResolutionError, match="no wheel"):
        steps(pinned, "a", "b")


NAMES = ["n0", "n1", "n2", "n3", "n4", "n5"]


@given(
    edges=st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3)),
    wanted=st.lists(st.lists(st.sampled_from(NAMES), max_size=2), min_size=1, max_size=4),
)
def test_prefixes_have_the_closures_of_their_own(edges: dict[str, list[str]], wanted: list[list[str]]) -> None:
    pinned = universe(**{name: edges.get(name, []) for name in NAMES})
    found = closure(wanted, pinned, BOOKWORM, "e")
    for last in range(len(wanted)):
        prefix = closure([[r for step in wanted[: last + 1] for r in step]], pinned, BOOKWORM, "e")
        assert set(prefix) == {name for name, step in found.items() if step <= last}
