"""Each target of the fuzzer for some hundred cases; `./dev fuzz` runs longer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .corpus_of import write_corpus
from .fuzz import CORPUS, TARGETS, Crash, case, fuzz, one, seeds

CASES, SECONDS = 300, 1.0
# Two readers, of which one reads what the other's writer makes: pax headers are never in a .deb.
_REFUSED = {("tar", "layer")}


@pytest.mark.parametrize("name", TARGETS)
def test_honest_seeds_are_taken(name: str) -> None:
    for path in sorted((CORPUS / TARGETS[name].seeds).iterdir()):
        assert one(name, path.read_bytes()) is ((name, path.name) not in _REFUSED), path


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_changed_is_taken_or_refused_in_words(name: str) -> None:
    end = time.monotonic() + SECONDS
    done, _ = fuzz(name, 0, lambda number: number >= CASES or time.monotonic() > end)
    assert done > 0


def test_a_case_is_the_same_everywhere() -> None:
    assert case("lock", 7) == case("lock", 7)
    assert len({case("wheel", n) for n in range(20)}) > 15


def test_the_corpus_is_what_the_builders_make(tmp_path: Path) -> None:
    """Names only: a host's zlib may make other streams."""
    write_corpus(tmp_path)
    made = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    assert made == {p.relative_to(CORPUS) for p in CORPUS.rglob("*") if p.is_file()}
    assert all(seeds(target) for target in TARGETS.values())


def test_a_traceback_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.hostile.fuzz.lockfile.read", lambda *_: 1 // 0)
    with pytest.raises(Crash, match=r"lock, case 0: ZeroDivisionError"):
        fuzz("lock", 0, lambda number: number >= 1)
