"""What is made before or for a fork, and to whom it is given."""

from __future__ import annotations

import functools
import gc
import re
import sys
import types
from typing import Any

import pytest

from flyte_build.submit.warm import stillness
from flyte_build.submit.warm.stillness import Transports

OURS = {"_U_INSECURE": "true", "_U_EP_OVERRIDE": "http://127.0.0.1:1/t"}
SYSTEM = {"tls_ca_cert": None, "tls_include_system_certs": True}


class Transport:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.given = args, kwargs


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = types.ModuleType("pyqwest")
    module.HTTPTransport = Transport  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyqwest", module)
    return module


def certificates(library: Any, **changes: Any) -> bool:
    found = library.HTTPTransport(**{**SYSTEM, **changes}).given[1]["tls_include_system_certs"]
    assert isinstance(found, bool)
    return found


def test_a_rehearsal_counts_and_changes_nothing(library: Any) -> None:
    counted = Transports()
    counted.record()
    assert certificates(library)
    assert certificates(library, timeout=3)
    library.HTTPTransport(tls_ca_cert=b"own", tls_include_system_certs=True)
    library.HTTPTransport()
    assert counted.count == 2


def test_as_many_as_the_rehearsal_made_read_no_authorities_and_the_next_one_does(library: Any) -> None:
    Transports().lighten(2, OURS)
    assert library.HTTPTransport("x").given == (("x",), {})
    assert library.HTTPTransport(tls_ca_cert=b"own", tls_include_system_certs=True).given[1]["tls_ca_cert"] == b"own"
    assert [certificates(library), certificates(library), certificates(library)] == [False, False, True]
    assert library.HTTPTransport is Transport, "the library is as it was"


@pytest.mark.parametrize(
    ("count", "env"),
    [
        (0, OURS), (2, {}), (2, {**OURS, "_U_INSECURE": "false"}),
        (2, {**OURS, "_U_EP_OVERRIDE": "https://flyte.example"}),
    ],
)  # fmt: skip
def test_a_service_that_takes_tls_is_asked_with_all_of_them(library: Any, count: int, env: dict[str, str]) -> None:
    Transports().lighten(count, env)
    assert library.HTTPTransport is Transport


def test_a_runtime_without_that_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pyqwest", raising=False)
    transports = Transports()
    transports.record()
    transports.lighten(2, OURS)
    assert transports.count == 0
    assert "pyqwest" not in sys.modules


def test_regular_expressions_of_a_rehearsal_are_kept_compiled() -> None:
    had = set(stillness.patterns())
    once = re.compile("a rehearsal's (own|pattern)", re.IGNORECASE)
    found = [pattern for pattern in stillness.patterns() if pattern not in had]
    assert found == [("a rehearsal's (own|pattern)", re.IGNORECASE)]
    re.purge()
    stillness.compiled([*found, ("(", 0)])
    assert stillness.patterns() == found, "what is no pattern is left out"
    kept = re.compile("a rehearsal's (own|pattern)", re.IGNORECASE)
    assert kept is re.compile("a rehearsal's (own|pattern)", re.IGNORECASE)
    assert kept is not once


def test_what_an_image_says_of_itself_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    @functools.cache
    def points() -> int:
        asked.append(1)
        return 1

    module = types.ModuleType("kept")
    module.points = points  # type: ignore[attr-defined]
    module.other = lambda: asked.append(2)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kept", module)
    monkeypatch.setattr(stillness, "_KEPT", (("kept", "points"), ("kept", "other"), ("kept", "none"), ("lacking", "f")))
    stillness.recall()
    points()
    assert asked == [1], "only what keeps its answer, and no error where a version has it not"


class Frames:
    """pandas and pyarrow.parquet, as far as they are used before a fork: says what was asked of them."""

    def __init__(self, wrong: bool = False) -> None:
        self.asked: list[Any] = []
        self.wrong = wrong

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Frames:
            self.asked.append((name, kwargs))
            if self.wrong:
                raise ValueError("of another version")
            return self

        return self if name in ("a", "c") else call

    def __add__(self, other: Any) -> Frames:
        return self


@pytest.mark.parametrize("wrong", [False, True])
def test_data_frames_are_used_once_without_threads_where_they_were_imported(
    monkeypatch: pytest.MonkeyPatch, wrong: bool
) -> None:
    frames = Frames(wrong)
    monkeypatch.setattr(stillness, "_KEPT", ())
    for name in ("pandas", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, frames)  # type: ignore[arg-type]
    for imported in ([], ["pandas"], ["numpy", "pyarrow"]):
        stillness.recall(imported)  # a lazy module in their place is not woken
        assert frames.asked == []
    stillness.recall(["numpy", "pandas", "pyarrow.parquet"])
    names = [name for name, _ in frames.asked]
    if wrong:
        assert names == ["DataFrame"], "a version that has it otherwise only makes an action slower"
    else:
        assert names == ["DataFrame", "assign", "to_parquet", "ParquetFile", "read", "to_pandas"]
        told = dict(frames.asked)
        assert (told["read"], told["to_pandas"], told["ParquetFile"]) == (
            {"use_threads": False}, {"use_threads": False}, {"pre_buffer": False}
        )  # fmt: skip


class Policy:
    """As the runtime's: the version of a call is a hash of its function's source."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def get_version(self, salt: str, params: Any) -> str:
        if params.func is None:
            return ""
        if params.func.__name__ == "lost":
            raise OSError("could not get source code")
        self.read.append(params.func.__name__)
        return f"{params.func.__code__.co_firstlineno} {salt}"


def test_a_functions_source_is_read_once() -> None:
    class Own(Policy):
        pass

    class Others(Own):
        pass

    def one() -> int:
        return 1

    def two() -> int:
        return 2

    def lost() -> None: ...

    @functools.wraps(one)
    def decorated() -> int:
        return one()

    stillness._read_once(Own)
    policy, of = Own(), lambda func: types.SimpleNamespace(func=func)
    first = [policy.get_version(salt, of(f)) for f in (one, two, decorated) for salt in ("", "s")]
    assert [policy.get_version(salt, of(f)) for f in (one, two, decorated) for salt in ("", "s")] == first
    assert len(set(first)) == 6, "each has a version of its own"
    assert policy.read == ["one", "one", "two", "two", "one", "one"]
    one.__code__ = two.__code__
    assert policy.get_version("", of(one)) == first[2], "what was changed is read again"
    for _ in range(2):
        with pytest.raises(OSError, match="source code"):
            policy.get_version("", of(lost))
        assert policy.get_version("", of(None)) == ""
    other = Others()
    assert [other.get_version("", of(two)), other.get_version("", of(two))] == [first[2]] * 2
    assert other.read == ["two", "two"], "another policy is asked as ever"


def test_the_runtimes_own_versions_stay_what_they_are() -> None:
    from flyte._cache.cache import Cache, VersionParameters
    from flyte._cache.policy_function_body import FunctionBodyPolicy

    class Read(FunctionBodyPolicy):
        pass

    params = VersionParameters(func=certificates, image="x")
    stock = Cache("auto", policies=[FunctionBodyPolicy()], salt="s").get_version(params)
    stillness._read_once(Read)
    cache = Cache("auto", policies=[Read()], salt="s")
    assert [cache.get_version(params), cache.get_version(params)] == [stock, stock]


def test_imports_are_not_collected_and_the_collector_is_as_it_was() -> None:
    was = gc.isenabled()
    try:
        for before in (True, False):
            (gc.enable if before else gc.disable)()
            with stillness.uncollected():
                assert not gc.isenabled()
            assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()
