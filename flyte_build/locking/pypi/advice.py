"""What to try when there is no solution: read off a resolver's own words, which say of which package, and how.

A word that is not understood costs the better advice and nothing else. Chooses nothing.
"""

from __future__ import annotations

import re

from .question import Question

__all__ = ["advice"]

# uv's: "Because pywin32>=303 has no wheels with a matching platform tag", "all versions of mkl have no wheels with …".
_NONE_FITS = re.compile(
    r"(?:all versions of )?`?([A-Za-z0-9][A-Za-z0-9._-]*)[^\s`]*`? ha(?:s|ve) no wheels with a matching"
)
_THERE = re.compile(r"Wheels are available for `([^`]+)` \([^)]*\) on the following platforms?: (.+)")
_NOT_FOUND = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\S* (?:was|were) not found in the package registry")
# pip does not tell an unknown name from one without a fitting wheel.
_NAME = "([A-Za-z0-9][A-Za-z0-9._-]*)"
_EITHER = re.compile(rf"No matching distribution found for {_NAME}|the requirement {_NAME}.* \(from versions: none")
_MACHINES = {"x86_64": "linux/amd64", "amd64": "linux/amd64", "aarch64": "linux/arm64"}


def advice(question: Question, words: str) -> str:
    """The hint of a :class:`NoSolution`; ``words``: what the resolver said."""
    target = question.target.platform
    for name, listed in _THERE.findall(words):
        tags = re.findall(r"`([^`]+)`", listed)
        there = ", ".join(tags)
        ours = sorted({p for tag in tags if tag.startswith(("manylinux", "linux")) for p in _machine(tag)})
        if ours and target not in ours:
            return (
                f"{name} has wheels for {there}, and none for {target}. Where the image is to run on "
                f"{' and '.join(ours)} only, say so: `Image.from_debian_base(platform={_tuple(ours)})`"
            )
        if tags and not ours:
            return (
                f"{name} has wheels for {there}: for nothing that images are made of. "
                f"Leave it out there: `{name}; sys_platform != 'linux'`"
            )
    if found := _NOT_FOUND.search(words):
        return f"{found[1]} is on no index that is configured: the name may be misspelt, or on another index"
    if found := _NONE_FITS.search(words):
        return (
            f"{found[1]} has no wheel for {question.target}: ask for another version of it, or for another Python, or "
            "build the wheel and add it to the image as a local wheel"
        )
    # Before a cut-off there may have been no version at all, which pip words as the same.
    if question.cutoff is None and (found := _EITHER.search(words)):
        return (
            f"{found[1] or found[2]} has no wheel for {question.target} in a version that was asked for, "
            "or its name is misspelt, or it is on another index"
        )
    return question.way_out


def _machine(tag: str) -> tuple[str, ...]:
    return tuple(platform for end, platform in _MACHINES.items() if tag.endswith(f"_{end}"))


def _tuple(platforms: list[str]) -> str:
    return "(" + " ".join(f'"{p}",' for p in platforms) + ")"
