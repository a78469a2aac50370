"""What stands on what: markers and extras for the image, Debian's alternatives and provided names, and who asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from flyte_build.asking.chains import reasons
from flyte_build.asking.graph import Edge, Graph, Key, Root, graph_of
from flyte_build.asking.needs import Stated
from flyte_build.kernel.errors import LockError
from flyte_build.locks.nouns import LockedDeb, LockedWheel
from flyte_build.recipe import AptInstall

from ..support.recipes import AMD64, deb, lock_of, recipe_of, wheel


def graph(
    steps: Sequence[AptInstall | str],
    wheels: Mapping[str, tuple[str, ...] | None],
    debs: Mapping[str, Stated | None] | None = None,
    *,
    base: Sequence[str] = (),
) -> Graph:
    """The graph of a lock whose packages state what is given; ``None``: nobody knows."""
    locked = [wheel(name) for name in wheels]
    held = [deb(name, base=name in base) for name in debs or {}]
    stated: dict[str, Stated | None] = {n: None if needs is None else Stated(needs) for n, needs in wheels.items()}

    def of(one: LockedWheel | LockedDeb) -> Stated | None:
        return stated[one.name] if isinstance(one, LockedWheel) else (debs or {})[one.name]

    return graph_of(lock_of(recipe_of(*steps), locked, held), AMD64, of)


def w(name: str) -> Key:
    return Key("wheel", name)


def d(name: str) -> Key:
    return Key("deb", name)


def test_markers_are_judged_for_the_image() -> None:
    found = graph(
        ["a"],
        {
            "a": ("b; sys_platform == 'linux'", "c; sys_platform == 'win32'", "e; python_version < '3.11'"),
            "b": (),
            "c": (),
            "e": (),
        },
    )
    assert found.edges == {w("a"): [Edge(w("a"), w("b"), "b")]}
    assert found.roots == [Root(w("a"), "with_pip_packages, step 1", "a")]


def test_extras_are_followed_where_they_were_asked_for() -> None:
    wheels = {"a": ("c; extra == 'x'", "e; extra == 'y'"), "c": (), "e": ()}
    assert [e.what for e in graph(["a[x]"], wheels).edges[w("a")]] == [w("c")]
    both = graph(["b"], {**wheels, "b": ("a[Y]>=1",)})
    assert both.edges == {w("b"): [Edge(w("b"), w("a"), "a[Y]>=1")], w("a"): [Edge(w("a"), w("e"), "e")]}


def test_the_runtime_is_asked_for_by_itself() -> None:
    found = graph([], {"flyte": ("a",), "a": ()})
    assert found.roots == [Root(w("flyte"), "the runtime of flyte", "flyte==2.12.1")]


def test_a_package_that_nobody_knows_is_silent_and_others_are_not_guessed() -> None:
    found = graph(["a"], {"a": None, "b": ()})
    assert found.silent == [w("a")]
    (why,) = reasons(found, "b")
    assert (why.root, why.chain, why.required_by) == (None, (), ())


def test_the_chain_is_the_shortest_and_ends_in_a_circle() -> None:
    wheels = {"a": ("b",), "b": ("c", "a"), "c": ("d", "b"), "d": (), "e": ("d",)}
    (why,) = reasons(graph(["a", "e"], wheels), "D")
    assert why.root == Root(w("e"), "with_pip_packages, step 2", "e")
    assert [edge.what.name for edge in why.chain] == ["d"]
    assert [edge.by.name for edge in why.required_by] == ["c", "e"]
    (own,) = reasons(graph(["a", "e"], wheels), "a")
    assert own.chain == ()
    assert [root.words for root in own.asked] == ["a"]


def test_debian_alternatives_provided_names_and_versions() -> None:
    debs = {
        "base-files": Stated(("mawk | awk",)),
        "gawk": Stated((), ("awk",)),
        "tool": Stated(("missing | libc6 (>= 2.34)", "libc6 (>= 2.34)")),
        "libc6": Stated(()),
    }
    found = graph([AptInstall(("tool=1.0-1",))], {}, debs, base=["base-files", "libc6"])
    assert found.edges[d("base-files")] == [Edge(d("base-files"), d("gawk"), "mawk | awk")]
    assert [e.what for e in found.edges[d("tool")]] == [d("libc6"), d("libc6")]
    origins = {root.what.name: root.origin for root in found.roots}
    assert origins == {
        "base-files": "the base, Debian bookworm",
        "libc6": "the base, Debian bookworm",
        "tool": "with_apt_packages, step 1",
    }


def test_a_name_may_be_both() -> None:
    found = graph(["git"], {"git": ()}, {"git": Stated(())}, base=["git"])
    assert [r.what.kind for r in reasons(found, "git")] == ["wheel", "deb"]
    assert reasons(found, "other") == []


def test_another_platform() -> None:
    with pytest.raises(LockError, match="not for linux/riscv64, but for linux/amd64"):
        graph_of(lock_of(recipe_of()), "linux/riscv64", lambda _: None)
