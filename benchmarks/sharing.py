"""(h) What a family of images shares: bytes that are there once, of all that its images have, beside other groupings.

Of the committed locks of an example, so nothing is fetched, built or timed: bytes are those of wheels and packages as
they are fetched, of which layers differ little. A layer that is nobody's artifact counts nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path

from flyte_build.deriving import ImageDerivation, LayerDerivation, derive, recorded_recipe
from flyte_build.locks.lockfile import read

from .context import Context
from .report import Case, Ratio

__all__ = ["cases"]

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = {"examples/af2": "lockfiles", "examples/monorepo": "examples/monorepo/lockfiles"}
PLATFORM = "linux/amd64"


def cases(_: Context) -> Iterator[Case]:
    for name, folder in EXAMPLES.items():
        images = list(_images(REPOSITORY / folder))
        groupings = {
            "as flyte-build groups": [{layer.hash: _size(layer) for layer in i.layers} for i in images],
            "one layer a wheel": [dict(_by_wheel(i)) for i in images],
            "one layer for all wheels": [dict(_wheels_together(i)) for i in images],
            "one layer an image": [{i.hash: sum(map(_size, i.layers))} for i in images],
        }
        ratios = [Ratio(f"unique / sum: {label}", _shared(found)[0]) for label, found in groupings.items()]
        facts = {label: _shared(found)[1] for label, found in groupings.items()}
        yield Case(f"{name}: {len(images)} images", [], ratios, dict(facts))


def _images(folder: Path) -> Iterator[ImageDerivation]:
    for path in sorted(folder.glob("*.json")):
        lock = read(folder, path.stem)
        assert lock is not None
        recipe = recorded_recipe(lock)
        yield derive(lock, recipe, PLATFORM, {i: [] for i in range(len(recipe.steps))})


def _size(layer: LayerDerivation) -> int:
    # The system layer is made of all packages, and has a few files that name them.
    return 0 if layer.kind == "system" else layer.fetch_size


def _by_wheel(image: ImageDerivation) -> Iterator[tuple[Hashable, int]]:
    for layer in image.layers:
        if layer.kind == "wheels":
            yield from ((artifact.sha256, artifact.size) for artifact in layer.artifacts)
        else:
            yield layer.hash, _size(layer)


def _wheels_together(image: ImageDerivation) -> Iterator[tuple[Hashable, int]]:
    wheels = [layer for layer in image.layers if layer.kind == "wheels"]
    yield tuple(sorted(layer.hash for layer in wheels)), sum(map(_size, wheels))
    yield from ((layer.hash, _size(layer)) for layer in image.layers if layer.kind != "wheels")


def _shared(images: list[Mapping[Hashable, int]]) -> tuple[float, str]:
    """Unique bytes as a part of all, and in words; each image is what its layers are to their bytes."""
    unique: dict[Hashable, int] = {}
    for image in images:
        unique |= image
    once, every = sum(unique.values()), sum(sum(image.values()) for image in images)
    most = max(map(len, images))
    return once / every, f"{once / 1e6:.0f} of {every / 1e6:.0f} MB; {len(unique)} layers, at most {most} an image"
