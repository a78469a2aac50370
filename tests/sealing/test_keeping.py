"""Steps of one command share the unpacked layers below them, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from flyte_build.kernel.errors import ArtifactError, SealError
from flyte_build.kernel.reporting import Recorder
from flyte_build.sealing import Below, Limits, Outcome, Stages, Step, seal

from ..support.tiny_root import layer_blob
from .conftest import Sealed


class Kept:
    """Seals over layers that stages keep. ``places``: the folders of the stages that there were."""

    def __init__(self, folder: Path, base: Below) -> None:
        self.folder, self.base, self.places = folder, base, list[Path]()
        self.stages = Stages(self._place)
        self._runs = 0

    def _place(self) -> Path:
        self.places.append(self.folder / f"stage-{len(self.places)}")
        return self.places[-1]

    def layer(self, name: str, files: Mapping[str, bytes | str], *, passing: bool = False) -> Below:
        path = self.folder / name
        return Below(path, layer_blob(path, files=files), passing)

    def __call__(self, *commands: str, over: Sequence[Below] = (), limit: float = 600) -> Outcome:
        self._runs += 1
        step = Step("run it", commands, {"PATH": "/bin:/usr/bin"}, "/", "none")
        work = self.folder / f"work-{self._runs}"
        log = self.folder / f"log-{self._runs}"
        return seal(step, [self.base, *over], work, log, Recorder(), limits=Limits(seconds=limit), stages=self.stages)


@pytest.fixture
def kept(base: Below, tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path, base)
    with made.stages:
        yield made


def layers(place: Path) -> list[str]:
    return sorted(p.name for p in place.iterdir() if p.name.startswith("l"))


def test_what_steps_lie_on_is_unpacked_once(kept: Kept) -> None:
    shared = kept.layer("shared", {"data/a": b"1"})
    first = kept("cat /data/a > /one", over=[shared])
    # The blobs are not read again: they could not be.
    kept.base.path.rename(kept.base.path.with_name("elsewhere"))
    try:
        second = kept("cat /data/a > /two", over=[shared])
    finally:
        kept.base.path.with_name("elsewhere").rename(kept.base.path)
    assert set(first.listing) == {"one"}
    assert set(second.listing) == {"two"}
    assert len(kept.places) == 1


def test_no_step_sees_what_another_did(kept: Kept) -> None:
    shared = kept.layer("shared", {"data/a": b"1"})
    kept("echo spoilt > /bin/mine && rm -r /data", over=[shared])
    assert set(kept("test ! -e /bin/mine && test -e /data/a && echo x > /out", over=[shared]).listing) == {"out"}
    with pytest.raises(SealError, match="exit code 3"):
        kept("echo half > /half && exit 3")
    assert set(kept("test ! -e /half && echo x > /out").listing) == {"out"}
    assert len(kept.places) == 1


def test_chains_that_part_share_what_they_began_with(kept: Kept) -> None:
    left = kept.layer("left", {"data/who": b"left", "etc/.wh..wh..opq": b""})
    right = kept.layer("right", {"data/who": b"right"})
    seen = "cat /data/who > /out; ls /etc >> /out"
    assert kept(seen, over=[left]).diff_id != kept(seen, over=[right]).diff_id
    assert layers(kept.places[0]) == ["l1", "l2", "l3"]


def test_a_step_makes_the_layer_that_it_makes_alone(kept: Kept, sealed: Sealed) -> None:
    """Whiteouts, opaque folders, links and owners are what they are over one folder that holds all layers."""
    below: list[Mapping[str, bytes | str]] = [
        {"data/a": b"1", "data/gone": b"", "shown/x": b"", "link": "data"},
        {"data/a": b"2", "data/.wh.gone": b"", "shown/.wh..wh..opq": b"", "shown/y": b""},
        {"shown/z": b"z", ".wh.link": b""},
    ]
    command = "rm -r /data && mkdir -m 700 /data && echo 2 > /data/b && chown 7:7 /shown/z && ln /shown/z /l"
    over = [kept.layer(f"layer-{n}", files) for n, files in enumerate(below)]
    kept("true", over=over[:2])
    assert kept(command, over=over).digest == sealed(command, files=below).digest


def test_a_layer_that_only_passes_is_not_kept(kept: Kept) -> None:
    given = kept.layer("given", {"build/x": b"x"}, passing=True)
    kept("cat /build/x > /out", over=[given])
    assert layers(kept.places[0]) == ["l1"]
    assert {p.name.partition("-")[0] for p in kept.places[0].iterdir()} == {"l1"}


def test_a_stage_that_did_not_answer_is_ended_and_another_begun(kept: Kept) -> None:
    with pytest.raises(SealError, match="did not end within"):
        kept("while :; do :; done", limit=0.5)
    assert not kept.places[0].exists()
    assert set(kept("echo x > /out").listing) == {"out"}
    assert len(kept.places) == 2


def test_a_layer_that_is_none_is_not_taken_for_one_later(kept: Kept) -> None:
    false = Below(kept.layer("false", {"x": b""}).path, "sha256:" + "0" * 64)
    for _ in range(2):
        with pytest.raises(ArtifactError, match="expected diff_id sha256:0000"):
            kept("true", over=[false])
    assert layers(kept.places[0]) == ["l1"]


def test_nothing_is_left_at_the_end(base: Below, tmp_path: Path) -> None:
    made = Kept(tmp_path, base)
    with made.stages:
        made("mkdir /a && chmod 0 /a && chown 77:77 /a")
    assert not made.places[0].exists()
