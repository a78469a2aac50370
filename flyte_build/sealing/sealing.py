"""A step and the layers below it → what it changed, as a layer. The one function of this package.

The step is run twice in fresh sandboxes over the same unpacked layers, and both
outcomes are compared: that is how it is known whether it is reproducible. The first one is taken.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..kernel.emulation import emulator, foreign, registration
from ..kernel.errors import SandboxError, SealError
from ..kernel.patience import patiently
from ..kernel.reporting import Reporter
from .keeping import Laid, Stages
from .lending import Outlet, environment_of, files_of, network_of
from .limits import Fence, Limits
from .logs import StepLog
from .nouns import Below, Outcome, Step
from .sketching import differing

__all__ = ["seal"]

_LIMITS = Limits()
# Shorter values stand in files by chance.
_SHORTEST_SECRET = 6


def seal(
    step: Step,
    below: Sequence[Below],
    folder: Path,
    log: Path,
    reporter: Reporter,
    *,
    twice: bool = True,
    limits: Limits = _LIMITS,
    stages: Stages | None = None,
) -> Outcome:
    """Run ``step`` over the layers ``below`` (lowest first), in the folder ``folder``, which is made and left.

    The folder holds the outcome's layer, and is the caller's to remove. What the programs say goes to the file ``log``.
    ``stages`` keeps layers for further steps; without it they go with this one.

    Raises :class:`SealError` where a command fails, time runs out or the outcome holds a secret, :class:`ArtifactError`
    for a layer below that is none, and :class:`SandboxError` where this machine has no sandbox to give.
    """
    network, why = network_of(step.network)
    if why is not None:
        reporter.warn(
            f"`{step.title}` reaches this machine's own services, as nothing parts the two: {why}; "
            '`apt install slirp4netns`, or choose `seal-network = "none"`'
        )
    with patiently("the step is ended"), ExitStack() as stack:
        words = stack.enter_context(StepLog(log, [one.value for one in step.secrets] + _hidden(step)))
        progress = stack.enter_context(reporter.work(step.title, None, unit="bytes"))
        fence = stack.enter_context(Fence(limits, reporter.warn))
        outlet = stack.enter_context(Outlet())

        def heard(data: bytes) -> None:
            words.write(data)
            progress.advance(len(data))

        def began(pid: int) -> None:
            fence.join(pid)
            if network == "internet":
                outlet.attach(pid)

        folder.mkdir()
        kept = stages or stack.enter_context(Stages(lambda: folder / "stage"))
        laid = stack.enter_context(kept.over(below, heard, began, limits.seconds, step.roots))
        run = _Run(laid, replace(step, network=network), words, folder, fence)
        first = run.once(1)
        if not twice:
            return replace(first, twice=False)
        second = run.once(2)
        if first.diff_id == second.diff_id:
            return first
        return replace(first, differs=differing(first.listing, second.listing) or ("(the layer's headers)",))


def _elsewhere(command: str) -> str:
    """How else to have what the SDK's own builder has in every image."""
    if re.search(r"\b(apt|apt-get|dpkg)\b", command):
        return ' (our own Debian has no apt: ask with `with_apt_packages`, or set `base = "registry"`)'
    return " (uv is in no image: use `pip`, or `with_pip_packages`)" if re.search(r"\buv\b", command) else ""


def _emulation(platform: str) -> str | None:
    """What the kernel is told for the sandbox, where it needs an emulator of its own."""
    program = emulator(platform) if platform and foreign(platform) is not None else None
    return registration(platform, program) if program is not None else None


def _hidden(step: Step) -> list[bytes]:
    return [value.encode() for value in step.lent.values()]


class _Run:
    """One run of the step in a stage, and its capture."""

    def __init__(self, laid: Laid, step: Step, words: StepLog, folder: Path, fence: Fence) -> None:
        self._stage, self._over, self._number = laid.stage, list(laid.over), laid.number
        self._roots = [list(root) for root in laid.roots]
        self._step, self._words, self._folder = step, words, folder
        self._fence = fence

    def once(self, number: int) -> Outcome:
        step = self._step
        self._words.line(f"run {number} of `{step.title}`, network {step.network}")
        started = time.monotonic()
        ended = self._laid_over(number) if step.made is not None else self._ran(number)
        seconds = time.monotonic() - started
        if "wrong" in ended:
            raise SealError(f"`{step.title}`: {ended['wrong']}", hint=f"its output is in {self._words.path}")
        if ended["exit"]:
            raise self._failed(ended["exit"], step.commands[ended["index"]])
        run, name = f"{self._number}-{number}", f"layer-{number}"
        secrets = [(s.name, s.value.hex()) for s in step.secrets if len(s.value) >= _SHORTEST_SECRET]
        made = self._stage.ask("capture", run=run, over=self._over, out=name, lent=ended["lent"], secrets=secrets)
        if "holds" in made:
            raise SealError(
                f"`{step.title}`: `{made['path']}` holds the secret {made['holds']}: nothing was sealed",
                hint="let the command use the secret without writing it, or remove the file in the same step",
            )
        if "bad" in made:
            raise SealError(f"`{step.title}`: what it left cannot be a layer: {made['bad']}")
        self._words.line(f"run {number}: {seconds:.1f} s, {made['diff_id']}")
        return self._outcome(name, made, seconds)

    def _ran(self, number: int) -> dict[str, Any]:
        """Run the programs in a fresh sandbox: how they ended."""
        step = self._step
        try:
            return self._stage.ask(
                "run",
                run=f"{self._number}-{number}",
                over=self._over,
                commands=list(step.commands),
                environment=environment_of(step, step.network),
                workdir=step.workdir,
                network=step.network,
                files=files_of(step, step.network),
                user=step.user,
                home=step.environment.get("HOME"),
                mounts=[asdict(mount) for mount in step.mounts],
                copies=[asdict(copy) for copy in step.copies],
                roots=self._roots,
                processes=self._fence.processes,
                emulator=_emulation(step.platform),
            )
        except SandboxError as e:
            if (met := self._fence.met()) is None:
                raise
            raise SealError(f"`{step.title}`: {met[0]}", hint=met[1], detail=self._words.tail()) from e

    def _laid_over(self, number: int) -> dict[str, Any]:
        """Lay what somebody else has made over what is below, as if programs had."""
        assert self._step.made is not None
        run = f"{self._number}-{number}"
        for layer in self._step.made(number):
            with open(layer.path, "rb") as blob:
                said = self._stage.ask("lay", [blob], run=run, over=self._over, diff_id=layer.diff_id)
            if "bad" in said:
                return {"exit": 1, "wrong": said["bad"]}
        self._stage.ask("lay", run=run, over=self._over, diff_id=None)
        return {"exit": 0, "lent": []}

    def _outcome(self, name: str, made: dict[str, Any], seconds: float) -> Outcome:
        """The outcome, its files moved out of the stage's folder, which goes."""
        source, target = self._stage.folder / name, self._folder / name
        listing = json.loads(source.with_name(f"{name}.listing").read_text(encoding="utf-8"))
        source.with_name(f"{name}.listing").unlink()
        os.rename(source, target)
        if os.geteuid() == 0:
            os.chown(target, 0, 0)
        return Outcome(
            layer=target,
            digest=made["digest"],
            size=made["size"],
            diff_id=made["diff_id"],
            listing=listing,
            content=made["content"],
            seconds=seconds,
            network=self._step.network,
            dropped=tuple(made["left_out"]),
        )

    def _failed(self, code: int, command: str) -> SealError:
        shown = " ".join(command.split())
        hint = f"its output is in {self._words.path}"
        if (met := self._fence.met()) is not None:
            return SealError(
                f"`{self._step.title}`: `{shown[:100]}` ended with exit code {code}: {met[0]}",
                hint=f"{met[1]}; {hint}",
                detail=self._words.tail(),
            )
        if code == 127:
            hint = f"a program is not in the image{_elsewhere(command)}; {hint}"
        return SealError(
            f"`{self._step.title}`: `{shown[:100]}` ended with exit code {code}", hint=hint, detail=self._words.tail()
        )
