"""What a step may take of the machine: one that forks for ever or fills the memory fails, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flyte_build.kernel.cgroups import Cgroups
from flyte_build.kernel.errors import SealError
from flyte_build.kernel.reporting import Recorder
from flyte_build.sealing import Limits
from flyte_build.sealing.limits import Fence

from ..support.tools import lacking
from .conftest import Sealed

# Processes that are there, stopped, and take nothing.
FORKS = "i=0; while [ $i -lt 200 ]; do sh -c 'kill -STOP $$' & i=$((i+1)); done"
# One line without an end, in the memory of a shell.
FILLS = "x=0123456789abcdef; while :; do x=$x$x; done"


@pytest.fixture
def groups() -> Cgroups:
    found = Cgroups.detect()
    if found.memory is None or found.pids is None:
        lacking("this user may make no control group for memory and processes")
    return found


def left(groups: Cgroups) -> list[Path]:
    """Groups of steps of this process."""
    parents = {groups.memory, groups.pids} - {None}
    return [folder for parent in parents if parent for folder in parent.glob(f"flyte-build-{os.getpid()}-*seal-*")]


def test_a_step_that_forks_for_ever(sealed: Sealed, groups: Cgroups) -> None:
    with pytest.raises(SealError, match="it may have 40 processes and threads at once, and wanted more"):
        sealed(FORKS, limits=Limits(processes=40), twice=False)
    assert left(groups) == []


def test_a_step_that_fills_the_memory(sealed: Sealed, groups: Cgroups) -> None:
    with pytest.raises(SealError, match=r"it may have 50\.3 MB of memory and wanted more: the kernel ended it") as e:
        sealed(FILLS, limits=Limits(memory=48 << 20), twice=False)
    assert "`seal-memory`" in str(e.value.hint)
    assert left(groups) == []


def test_where_there_are_no_groups_forks_end_all_the_same(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cgroups, "detect", classmethod(lambda cls: cls(None, None, unified=False)))
    with pytest.raises(SealError, match="ended with exit code"):
        sealed(FORKS, limits=Limits(processes=40), twice=False)


def test_the_kernel_ends_a_step_before_anything_else(sealed: Sealed, tmp_path: Path) -> None:
    sealed("cat /proc/self/oom_score_adj", twice=False)
    assert "1000" in (tmp_path / "log").read_text().split()


def test_a_limit_that_cannot_be_kept_is_said_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cgroups, "detect", classmethod(lambda cls: cls(None, None, unified=False)))
    said = Recorder()
    with Fence(Limits(), said.warn), Fence(Limits(memory=1 << 30), said.warn) as fence:
        assert fence.met() is None
    (warning,) = said.warnings
    assert "`seal-memory` is not enforced here" in warning


def test_without_a_setting_the_machine_keeps_some() -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert whole // 2 <= Limits().most_memory < whole
