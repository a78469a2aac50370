"""A Dockerfile with a line that no step means → one step that has another builder build it, on bases that are locked.

The images that it names are stages of the recipe, so that they are locked by digest, and so are its folder's files: the
seal is stale when one of them changes. Where its base cannot be told there is no such step. Runs nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from ...kernel.errors import RefusedError
from ...recipe import CopyFiles, Delegation, RegistryBase, RunCommands, Scratch, SecretMount, Stage, Step
from ...recipe.docker_words import known
from .context import patterns
from .reading import Reading, State
from .text import Instruction, StageText, instructions, staged

__all__ = ["delegated"]

_FROM = re.compile(r"(?:--from=|\bfrom=)([^\s,]+)")
_SECRET = re.compile(r"--mount=(\S*type=secret\S*)")


def delegated(
    r: Reading, text: str, refusal: RefusedError
) -> tuple[RegistryBase, tuple[Step, ...], tuple[Stage, ...]] | None:
    """Base, steps and stages; ``None`` where what the last stage stands on cannot be told."""
    head, texts = staged(list(instructions(text)))
    values = _arguments(r, head)
    base = _base(texts, len(texts) - 1, values) if texts else None
    if base is None:
        return None
    named = [base, *(name for one in texts for name in _images(texts, one, values))]
    images = tuple(dict.fromkeys(r.added(Stage(name, RegistryBase(name))) for name in named))
    state = State(r, 0, Scratch())
    copied = CopyFiles(r.relative(r.context), "/", True, patterns(state, r.context), owner=(0, 0))
    whole = Delegation(
        file=r.relative(r.file),
        text="sha256:" + hashlib.sha256(text.encode()).hexdigest(),
        images=images,
        context=state.copied([copied]),
        other="another language" in refusal.message,
        why=refusal.message,
    )
    secrets = tuple(dict.fromkeys(SecretMount(key) for one in texts for key in _secrets(one)))
    return RegistryBase(base), (RunCommands((), secrets, delegation=whole),), tuple(r.stages)


def _arguments(r: Reading, head: list[Instruction]) -> dict[str, str]:
    values = dict(r.given)
    for one in head:
        for word in one.rest.split() if one.name == "ARG" else ():
            name, given, value = word.partition("=")
            if given:
                values[name] = _plain(value, values)
    return values


def _plain(word: str, values: Mapping[str, str]) -> str:
    try:
        return known(word, values)[0]
    except ValueError:
        return word


def _base(texts: list[StageText], number: int, values: Mapping[str, str]) -> str | None:
    """The image at the bottom of a stage; ``None`` for nothing."""
    words = [word for word in texts[number].first.rest.split() if not word.startswith("--")]
    name = _plain(words[0], values) if words else ""
    below = next((n for n in reversed(range(number)) if texts[n].name == name.lower()), None)
    if below is not None:
        return _base(texts, below, values)
    return name if name and name != "scratch" and "$" not in name else None


def _images(texts: list[StageText], one: StageText, values: Mapping[str, str]) -> list[str]:
    """The images that a stage stands on and takes files from."""
    stages = {text.name for text in texts if text.name} | {str(n) for n in range(len(texts))} | {"scratch", ""}
    words = [word for word in one.first.rest.split() if not word.startswith("--")][:1]
    words += [m[1] for line in one.rest if line.name in ("COPY", "RUN") for m in _FROM.finditer(line.words)]
    names = [_plain(word, values) for word in words]
    return [name for name in names if name.lower() not in stages and "$" not in name]


def _secrets(one: StageText) -> list[str]:
    """The ids of the secrets that a stage's commands see."""
    rows = [m[1].split(",") for line in one.rest if line.name == "RUN" for m in _SECRET.finditer(line.words)]
    said = [dict(part.partition("=")[::2] for part in row) for row in rows]
    return [row["id"] for row in said if "id" in row]
