"""Values are what ``dataclasses`` makes of the same class, and their constructors are compiled when they are called."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from flyte_build.kernel import values

OURS, THEIRS = values.dataclass, dataclasses.dataclass
Made = Callable[..., Any]


def _classes(make: Any, field: Any) -> dict[str, Any]:
    @make(frozen=True, slots=True)
    class Plain:
        """A value."""

        KIND: ClassVar[str] = "plain"
        name: str
        size: int = 3
        parts: tuple[str, ...] = field(default=("a",), repr=False)
        known: dict[str, int] = field(default_factory=dict, compare=False)

        @property
        def twice(self) -> int:
            return 2 * self.size

    @make(frozen=True, slots=True)
    class Upper(Plain):
        """It, and more."""

        more: str = ""

    @make(slots=True)
    class Open:
        """One that changes."""

        number: int = 0
        seen: list[int] = field(default_factory=list)
        reckoned: int = field(init=False)

        def __post_init__(self) -> None:
            self.reckoned = self.number + 1

    @make(frozen=True, eq=False, slots=True)
    class Itself:
        """Equal to itself alone."""

        one: int

    @make(frozen=True)
    class Loose:
        """With a dictionary of its own."""

        one: int = 1

        def __repr__(self) -> str:
            return "loose"

    @make(frozen=True, slots=True)
    class Nothing:
        """Of no fields."""

    found = (Plain, Upper, Open, Itself, Loose, Nothing)
    for cls in found:
        cls.__qualname__ = cls.__name__
    return {cls.__name__: cls for cls in found}


@pytest.fixture(params=["ours", "theirs"])
def made(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The same classes by us and by ``dataclasses``: whatever is asserted of them has to hold of both."""
    if request.param == "ours":
        return _classes(values.dataclass, values.field)
    return _classes(dataclasses.dataclass, dataclasses.field)


def test_values(made: dict[str, Any]) -> None:
    plain, upper = made["Plain"], made["Upper"]
    one, other = plain("x", known={"a": 1}), plain(name="x")
    assert one == other
    assert hash(one) == hash(other)
    assert one != plain("y")
    assert one != upper("x")
    assert {one: 1}[other] == 1
    assert (one.size, one.parts, other.known, one.twice, one.KIND) == (3, ("a",), {}, 6, "plain")
    assert repr(one) == "Plain(name='x', size=3, known={'a': 1})"
    assert repr(upper("x", 4, more="z")) == "Upper(name='x', size=4, known={}, more='z')"
    assert not hasattr(one, "__dict__")
    assert plain.__match_args__ == ("name", "size", "parts", "known")
    assert repr(made["Nothing"]()) == "Nothing()"
    assert made["Nothing"]() == made["Nothing"]()


def test_each_has_a_default_of_its_own(made: dict[str, Any]) -> None:
    one, other = made["Open"](), made["Open"](4)
    one.seen.append(1)
    assert (one.reckoned, other.reckoned, other.seen) == (1, 5, [])
    one.number = 7
    assert one.number == 7
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_what_is_frozen_stays(made: dict[str, Any]) -> None:
    for value, name in ((made["Plain"]("x"), "name"), (made["Loose"](), "one"), (made["Loose"](), "new")):
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(value, name, "y")
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot delete field '{name}'"):
            delattr(value, name)


def test_only_itself(made: dict[str, Any]) -> None:
    one = made["Itself"](1)
    assert one == one
    assert one != made["Itself"](1)
    assert len({one, made["Itself"](1)}) == 2
    assert repr(made["Loose"]()) == "loose"


@pytest.mark.parametrize("given", [(), ("x", 1, (), {}, "more")])
def test_wrong_arguments(made: dict[str, Any], given: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"Plain.__init__\(\) (missing 1 required|takes from 2 to 5)"):
        made["Plain"](*given)


@pytest.mark.parametrize("replace", [values.replace, dataclasses.replace])
def test_replaced(made: dict[str, Any], replace: Made) -> None:
    one = made["Upper"]("x", 4, known={"a": 1}, more="z")
    other = replace(one, name="y")
    assert type(other) is type(one)
    assert (other.name, other.size, other.known, other.more) == ("y", 4, {"a": 1}, "z")
    with pytest.raises(TypeError, match="nothing"):
        replace(one, nothing=1)
    with pytest.raises((TypeError, ValueError), match="init=False"):
        replace(made["Open"](), reckoned=1)


def test_what_dataclasses_says_of_them(made: dict[str, Any]) -> None:
    one = made["Upper"]("x", known={"a": 1})
    assert dataclasses.is_dataclass(one)
    told = {"name": "x", "size": 3, "parts": ("a",), "known": {"a": 1}, "more": ""}
    assert dataclasses.asdict(one) == told
    fields = dataclasses.fields(made["Upper"])
    assert [(f.name, f.type, f.init, f.compare) for f in fields] == [
        ("name", "str", True, True), ("size", "int", True, True), ("parts", "tuple[str, ...]", True, True),
        ("known", "dict[str, int]", True, False), ("more", "str", True, True),
    ]  # fmt: skip

    @dataclasses.dataclass(frozen=True, slots=True)
    class Theirs(made["Upper"]):  # type: ignore[misc]
        last: int = 0

    assert repr(Theirs("x", last=2)).endswith("Theirs(name='x', size=3, known={}, more='', last=2)")
    assert dataclasses.replace(Theirs("x", last=2), name="y") == values.replace(Theirs("x", last=2), name="y")


def test_copies(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, cls in made.items():
        monkeypatch.setitem(globals(), name, cls)
    one = made["Upper"]("x", known={"a": 1})
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert other == one
        assert other.known == {"a": 1}


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="use default_factory"):

        @OURS
        class Shared:
            seen: list[int] = []  # noqa: RUF012 - that it is refused

    with pytest.raises(TypeError, match="non-default argument 'b' follows default argument 'a'"):

        @OURS
        class Order:
            a: int = 1
            b: int

    with pytest.raises(TypeError, match="InitVar"):

        @OURS
        class Initial:
            a: dataclasses.InitVar[int]


def test_a_constructor_is_compiled_once_when_it_is_called() -> None:
    plain = _classes(values.dataclass, values.field)["Plain"]
    before = plain.__init__
    plain("x")
    made = plain.__init__
    assert made is not before
    plain("y")
    assert plain.__init__ is made


def test_a_lock_is_read_and_an_image_derived_without_dataclasses() -> None:
    """What a short process imports has none of it; whoever needs `dataclasses` there pays 10 ms for all."""
    program = (
        "import sys, flyte_build.building.building, flyte_build.building.assembly, flyte_build.locks.lockfile\n"
        "import flyte_build.deriving.derivation, flyte_build.store.session, flyte_build.remote.available\n"
        "slow = {'dataclasses', 'inspect', 'logging', 'tempfile', 'shutil', 'email', 'tarfile', 'platformdirs',\n"
        "        'subprocess', 'concurrent.futures', 'httpx', 'flyte', 'configparser', 'platform'}\n"
        "print(sorted(slow & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
