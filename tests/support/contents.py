"""Contents and derivations drawn by hypothesis, and small ones by hand, for tests of differences."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from flyte_build.deriving.derivation import FileEntry, ImageDerivation, derive
from flyte_build.diffing.contents import Contents, Held, Layer, Package, of_derivation
from flyte_build.diffing.entries import File
from flyte_build.locks.lockfile import Lock
from flyte_build.recipe import CopyFiles, EnvVars, Recipe, WorkDir
from tests.support.recipes import AMD64, deb, lock_of, recipe_of, sha, wheel

__all__ = ["contents", "derivation", "derivations", "file", "image", "layer", "locks", "recipe"]

_NAMES = st.sampled_from(["alpha", "beta", "gamma", "delta"])
_WORDS = st.sampled_from(["", "0", "1", "long value"])


def file(text: str = "x", *, mode: int = 0o644, sums: str = "both") -> File:
    """A file that holds ``text``; ``sums`` (``both``, ``sha256`` or ``crc32``) is what is known of its content."""
    crc = f"{sum(text.encode()):08x}"
    known = {"sha256": sha(text), "crc32": crc}
    return File("file", mode, len(text), **{k: v for k, v in known.items() if sums in ("both", k)})


def layer(title: str, files: Mapping[str, File] | None = None, *, size: int | None = 10, known: str = "both") -> Layer:
    """A layer that its title identifies, by ``digest``, by ``derivation``, by ``both`` or by ``neither``."""
    identity = f"sha256:{sha(title)}"
    return Layer(
        title,
        digest=identity if known in ("both", "digest") else None,
        derivation=identity if known in ("both", "derivation") else None,
        size=size,
        files=files,
    )


def image(*layers: Layer, subject: str = "an image") -> Contents:
    """An image of which only layers are known."""
    return Contents(subject, "image", layers=layers)


def recipe(*names: str, env: tuple[tuple[str, str], ...] = (), workdir: str = "", copy: bool = False) -> Recipe:
    """A pip step a name, then environment variables, a working directory and a copied folder where asked for."""
    steps = [EnvVars(env)] if env else []
    return recipe_of(
        *names, *steps, *([WorkDir(workdir)] if workdir else []), *([CopyFiles("src", ".", True)] if copy else [])
    )


def derivation(lock: Lock, made: Recipe, files: Mapping[str, str] | None = None) -> ImageDerivation:
    """The image of a lock; ``files`` (path → text) fill its copied folder."""
    entries = [FileEntry(path, 0o644, sha(text), len(text)) for path, text in (files or {}).items()]
    copies = [i for i, step in enumerate(made.steps) if isinstance(step, CopyFiles)]
    return derive(lock, made, AMD64, dict.fromkeys(copies, entries))


@st.composite
def locks(draw: st.DrawFn) -> tuple[Lock, Recipe]:
    """A lock and the recipe it answers."""
    names = draw(st.lists(_NAMES, unique=True, max_size=3))
    env = tuple(draw(st.lists(st.tuples(st.sampled_from("ABC"), _WORDS), unique_by=lambda v: v[0], max_size=3)))
    made = recipe(
        *names, env=env, workdir=draw(st.sampled_from(["", "/srv", "/app"])), copy=draw(st.booleans())
    )  # fmt: skip
    wheels = [
        wheel(
            name,
            draw(st.sampled_from(["1.0", "2.0"])),
            step=i + 1,
            size=draw(st.sampled_from([10, 9 << 20])),
            salt=draw(st.sampled_from(["", "x"])),
        )
        for i, name in enumerate(names)
    ]
    debs = [deb(name, draw(st.sampled_from(["1", "1:2"]))) for name in draw(st.lists(_NAMES, unique=True, max_size=3))]
    return lock_of(made, wheels, debs), made


@st.composite
def derivations(draw: st.DrawFn) -> ImageDerivation:
    """Any image of ours."""
    lock, made = draw(locks())
    paths = st.sampled_from(["root/a.py", "root/b.py", "app"])
    return derivation(lock, made, draw(st.dictionaries(paths, st.sampled_from("xy"), max_size=2)))


_FILES: list[dict[str, File]] = [
    {"a": File("folder", 0o755), "a/b": file("x"), "a/c": file("y")},
    {"a": File("folder", 0o755), "a/b": file("y", sums="crc32")},
    {"a/.wh.b": file(""), "d": file("x", sums="sha256")},
    {"a": file("a file now"), "d": file("x", mode=0o755)},
    {".wh.a": file(""), "d": File("link", link="a")},
    {"a/.wh..wh..opq": file(""), "a/e": file("x")},
    {},
]


def _files_of(identity: str) -> dict[str, File]:
    """Some files: for one layer always the same, whoever is asked."""
    return _FILES[int(sha(identity), 16) % len(_FILES)]


@st.composite
def contents(draw: st.DrawFn) -> Contents:
    """Anything a reader may give: an image of ours, built or not, or one with parts that are not known."""
    if draw(st.booleans()):
        made = draw(derivations())
        held = {
            x.hash: Held(f"sha256:{sha(x.hash)}", len(x.title), _files_of(x.hash) if draw(st.booleans()) else None)
            for x in made.layers
            if draw(st.booleans())
        }
        return of_derivation(made, "ours", held)
    known = st.sampled_from(["both", "digest", "derivation", "neither"])
    layers = [
        layer(
            title,
            _files_of(title) if draw(st.booleans()) else None,
            size=draw(st.none() | st.just(5)),
            known=draw(known),
        )
        for title in draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=4))
    ]
    texts = st.none() | st.dictionaries(_NAMES, _WORDS, max_size=2)
    packages = st.none() | st.dictionaries(
        _NAMES, st.builds(Package, st.sampled_from(["1", "1:1", "2"]), st.none() | st.just(3), st.none() | st.just("s"))
    )
    env = draw(st.none() | st.lists(st.sampled_from(["A=1", "A=2", "B=1"]), unique_by=lambda v: v[0]))
    return Contents(
        "theirs",
        "image",
        facts=draw(st.dictionaries(st.sampled_from(["python", "platform"]), _WORDS)),
        wheels=draw(packages),
        debs=draw(packages),
        config=None if env is None else {"Env": list(env), "User": draw(_WORDS), "Labels": draw(texts)},
        annotations=draw(texts),
        layers=draw(st.none() | st.just(tuple(layers))),
    )
