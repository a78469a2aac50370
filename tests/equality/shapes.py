"""What a generated image is made of, as data: small, printable, and shrinkable by Hypothesis.

A shape says which wheels, packages, files and steps there are and what is unusual in each; :mod:`projects` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from flyte_build.recipe import AptInstall, CopyFiles, EnvVars, PipInstall, Platform, Step, WorkDir

__all__ = ["BASE", "PLATFORMS", "DebShape", "Shape", "WheelShape", "richest", "shapes"]

PLATFORMS: tuple[Platform, ...] = ("linux/amd64", "linux/arm64")
Size = Literal["small", "under", "large"]
"""Of a wheel: a few hundred bytes, one byte less than gets a layer of its own, or exactly that much."""

WHEEL_TRAITS = (
    *("commands", "scripts", "data", "namespace", "executable", "stored", "native", "nonascii", "zip64"),
    *("empty", "typed"),
)
DEB_TRAITS = (
    *("conffile", "links", "hardlink", "folder", "library", "setuid", "certificate", "all", "gz", "plain"),
    *("nonascii", "epoch", "postinst"),
)
BASE = ("base-files", "base-passwd", "libc6", "python")
NAMES = ("alpha", "beta-two", "gamma", "delta.x", "epsilon", "zeta", "eta9", "theta")
VALUES = ("", "plain", "two words", "$PATH:/x", "ü", 'quo"ted', "a=b", "back\\slash")
IGNORED: tuple[tuple[str, ...], ...] = ((), ("*.log",), ("sub",), ("**/x", "!deep/er/x"), ("*", "!a.txt"))
FILES = ("a.txt", "empty", "sub/run", "sub/link", "ü.txt", "left.log", "deep/er/x", "white space")


@dataclass(frozen=True, slots=True)
class WheelShape:
    """``step`` is the lock's; ``local``: it lies in the project instead of an index."""

    name: str
    step: int
    size: Size
    traits: tuple[str, ...]
    local: bool = False


@dataclass(frozen=True, slots=True)
class DebShape:
    name: str
    base: bool
    traits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """An environment and all that its image is made of. ``files`` lie in the folder that copy steps copy from."""

    environment: str
    python: Literal["3.11", "3.13"]
    flyte: bool
    platforms: tuple[Platform, ...]
    steps: tuple[Step, ...]
    wheels: tuple[WheelShape, ...]
    debs: tuple[DebShape, ...]
    files: tuple[str, ...]
    ceiling: int | None = None

    @property
    def kinds(self) -> frozenset[object]:
        """What is in it, to tell rich shapes from poor ones."""
        held: list[object] = [type(step) for step in self.steps]
        held += [self.python, ("flyte", self.flyte), *self.platforms]
        held += [trait for wheel in self.wheels for trait in (*wheel.traits, wheel.size)]
        held += [kind for wheel in self.wheels for kind in (("local", wheel.local), ("step", wheel.step))]
        held += [("deb", trait) for deb in self.debs for trait in (*deb.traits, deb.base)]
        return frozenset([*held, *self.files])


def _some(choices: Sequence[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(choices), max_size=most, unique=True).map(lambda found: tuple(sorted(found)))


def _copies(number: int, environment: str, ignore: tuple[str, ...]) -> st.SearchStrategy[CopyFiles]:
    """A copy to a place that no other step copies to."""
    places = (f"/srv/c{number}/", f"in{number}/", f"./x/{number}", f"/opt/own{number}/y", f"/usr/local/share/c{number}")
    sources = (CopyFiles(f"{environment}/data", "", True, ignore), CopyFiles(f"{environment}/one.txt", "", False))
    return st.builds(replace, st.sampled_from(sources), destination=st.sampled_from(places))


_WORKDIRS = st.sampled_from(("/work", "app", "/home/flyte/x", "/srv/app", ".")).map(WorkDir)
_ENVIRONMENTS = st.dictionaries(
    st.sampled_from(("MODE", "PATH", "A_B", "x")), st.sampled_from(VALUES), min_size=1, max_size=3
).map(lambda found: EnvVars(tuple(found.items())))


@st.composite
def shapes(draw: st.DrawFn, environment: str = "env") -> Shape:
    """Any image, of at most eight wheels (two of them large), four packages besides the base, and six steps."""
    kinds = draw(st.lists(st.sampled_from(["pip", "copy", "env", "workdir"]), max_size=6))
    flyte = draw(st.booleans())
    pips = [i for i, kind in enumerate(kinds) if kind == "pip"]
    # Step 0 is the flyte runtime's, and step k the k-th with_pip_packages.
    possible = [0] * flyte + [k + 1 for k in range(len(pips))]
    names = draw(st.lists(st.sampled_from(NAMES), max_size=8, unique=True)) if possible else []
    sizes: st.SearchStrategy[Size] = st.sampled_from(("small", "small", "small", "under", "large"))
    wheels: list[WheelShape] = []
    for name in names:
        big = sum(wheel.size != "small" for wheel in wheels) < 2
        size: Size = draw(sizes) if big else "small"
        step = draw(st.sampled_from(possible))
        wheels.append(WheelShape(name, step, size, draw(_some(WHEEL_TRAITS, 4))))
    if draw(st.booleans()):
        wheels = _with_local(wheels)
    named = draw(st.lists(st.sampled_from(("liba1", "b+plus", "c-doc", "dd", "mawk")), max_size=4, unique=True))
    debs = tuple(DebShape(name, draw(st.booleans()), draw(_some(DEB_TRAITS, 4))) for name in named)
    # The patterns are the image's: all of its copies have the same.
    ignore = draw(st.sampled_from(IGNORED))
    steps: list[Step] = []
    for i, kind in enumerate(kinds):
        if kind == "pip":
            held = [wheel for wheel in wheels if wheel.step == pips.index(i) + 1]
            asked = tuple(f"{wheel.name.replace('.', '-')}==1.0" for wheel in held if not wheel.local)
            if held and held[0].local:
                one = held[0].name
                steps.append(PipInstall((one,), wheels=(f"{environment}/vendor/{one}-1.0-py3-none-any.whl",)))
            else:
                steps.append(PipInstall(asked or (f"nothing-{i}",)))
        elif kind == "copy":
            steps.append(draw(_copies(i, environment, ignore)))
        else:
            other: st.SearchStrategy[Step] = _WORKDIRS if kind == "workdir" else _ENVIRONMENTS
            steps.append(draw(other))
    if asked_debs := tuple(deb.name for deb in debs if not deb.base):
        steps.insert(draw(st.integers(0, len(steps))), AptInstall(asked_debs))
    platforms = draw(st.sampled_from((PLATFORMS, PLATFORMS[:1], PLATFORMS[1:])))
    python: Literal["3.11", "3.13"] = draw(st.sampled_from(("3.11", "3.13")))
    # What every pattern of IGNORED leaves is there, so that no copy is empty.
    files = tuple(sorted({"a.txt", *draw(_some(FILES, 8))}))
    return Shape(environment, python, flyte, platforms, tuple(steps), tuple(wheels), debs, files)


def _with_local(wheels: list[WheelShape]) -> list[WheelShape]:
    """With the wheels of the last step reduced to one that lies in the project, where one can."""
    step = max((wheel.step for wheel in wheels), default=0)
    able = [wheel for wheel in wheels if wheel.step == step and wheel.name.isalnum()]
    if not step or not able:
        return wheels
    traits = tuple(trait for trait in able[0].traits if trait != "native")
    one = WheelShape(able[0].name, step, able[0].size, traits, True)
    return [wheel for wheel in wheels if wheel.step != step] + [one]


def _drawn(some: st.SearchStrategy[Shape], number: int, count: int) -> list[Shape]:
    found: list[Shape] = []

    @seed(number)
    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate])
    @given(some)
    def collect(shape: Shape) -> None:
        found.append(shape)

    collect()
    return found


def richest(count: int, number: int, of: int = 150) -> list[Shape]:
    """The same ``count`` shapes each time, the richest of ``of`` drawn with the seed ``number``; named ``generated_0``
    and so on."""
    found: list[Shape] = []
    for index in range(count):
        drawn = _drawn(shapes(f"generated_{index}"), number + index, of)
        have = frozenset(kind for shape in found for kind in shape.kinds)
        found.append(max(drawn, key=lambda shape: len(shape.kinds - have)))
    return found
