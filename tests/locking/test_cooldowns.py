"""Cut-offs of single indexes: over wheels and Debian's archive, in the lock, and refused where they are none's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from flyte_build.kernel.errors import InputError, LockError, RefusedError
from flyte_build.locking.cooldowns import applied, instants, recorded, told
from flyte_build.locking.pypi import Question
from flyte_build.locking.pypi.pip_tools import PipTools
from flyte_build.locking.pypi.sources import _newest
from flyte_build.locking.pypi.uv import Uv
from flyte_build.locks.lockfile import read
from flyte_build.recipe import PipInstall
from flyte_build.recipe.located import hidden
from flyte_build.sources.indexes import Index, IndexClient, IndexSettings

from ..support.index import SimpleIndex
from ..support.locking import BOOKWORM, FakeDebian, pins, project, publish, recipe, settings

OLD, NEW, BETWEEN = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-01-15T00:00:00Z"


def filled(index: SimpleIndex, name: str) -> SimpleIndex:
    publish(index.folder, f"{name} 1.0", f"{name} 2.0")
    index.uploaded |= {f"{name}-1.0-py3-none-any.whl": OLD, f"{name}-2.0-py3-none-any.whl": NEW}
    return index


@pytest.fixture
def public(tmp_path: Path, index: SimpleIndex) -> SimpleIndex:
    return filled(index, "a")


@pytest.fixture
def internal(tmp_path: Path) -> Iterator[SimpleIndex]:
    with SimpleIndex(tmp_path / "internal") as index:
        yield filled(index, "b")


@pytest.fixture
def both(public: SimpleIndex, internal: SimpleIndex) -> IndexSettings:
    return replace(settings(public), extra=(Index(settings(internal).indexes[0].url, "internal"),))


def locked(
    folder: Path, public: SimpleIndex, both: IndexSettings, **more: object
) -> tuple[dict[str, str], dict[str, str]]:
    report = project({"e": recipe("a b")}, folder, public, settings=both, **more)
    lock = read(folder, "e")
    assert lock == report.locks["e"]
    return {name: version for name, (version, _) in pins(lock).items()}, dict(lock.cutoffs)


@pytest.mark.slow
def test_an_index_without_a_cutoff_beside_one_with(tmp_path: Path, public: SimpleIndex, both: IndexSettings) -> None:
    assert locked(tmp_path / "one", public, both, cutoff=BETWEEN) == ({"a": "1.0", "b": "1.0"}, {})
    found = locked(tmp_path / "two", public, both, cutoff=BETWEEN, cooldowns=[("internal", "none")])
    assert found == ({"a": "1.0", "b": "2.0"}, {"internal": "none"})


@pytest.mark.slow
def test_an_index_with_a_cutoff_of_its_own(tmp_path: Path, public: SimpleIndex, both: IndexSettings) -> None:
    found = locked(tmp_path / "one", public, both, cooldowns=[("internal", BETWEEN)])
    assert found == ({"a": "2.0", "b": "1.0"}, {"internal": BETWEEN})
    address = both.indexes[0].url
    versions, cutoffs = locked(tmp_path / "two", public, both, cooldowns=[(f"{address}/", BETWEEN)])
    assert (versions, cutoffs) == ({"a": "2.0", "b": "1.0"}, {hidden(address.rstrip("/")): BETWEEN})
    text = (tmp_path / "two" / "e.json").read_text()
    assert address.split("//")[1] not in text


@pytest.mark.slow
def test_a_recipes_own_index_is_named_by_its_address(tmp_path: Path, public: SimpleIndex, both: IndexSettings) -> None:
    own = both.indexes[0].url
    wanted = replace(recipe(), steps=(PipInstall(("b",), index=own),))
    report = project({"e": wanted}, tmp_path / "locks", public, cutoff=BETWEEN, cooldowns=[(own, "none")])
    assert pins(report.locks["e"])["b"][0] == "2.0"
    assert not [note for note in report.notes if "address there is that of no index" in note]


@pytest.mark.slow
def test_what_answers_stays_and_is_asked_nothing(tmp_path: Path, public: SimpleIndex, both: IndexSettings) -> None:
    folder = tmp_path / "locks"
    locked(folder, public, both, cutoff=BETWEEN)
    before = (folder / "e.json").read_bytes()
    report = project({"e": recipe("a b")}, folder, public, settings=both, cooldowns=[("internal", "none")])
    assert (report.written, report.notes) == ((), ())
    assert (folder / "e.json").read_bytes() == before


@pytest.mark.slow
def test_debians_archive(tmp_path: Path, public: SimpleIndex) -> None:
    for rule, expected in (("none", None), (OLD, OLD)):
        debian = FakeDebian()
        project(
            {"e": recipe("a")}, tmp_path / rule[:4], public,
            debian=debian, cutoff=BETWEEN, cooldowns=[("debian", rule)],
        )  # fmt: skip
        assert {call[0] for call in debian.calls} == {expected}


def test_names_that_no_index_has(public: SimpleIndex, both: IndexSettings, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected the name of an index .* \(debian, internal\).* found `intern`"
    ) as e:
        locked(tmp_path / "locks", public, both, cooldowns=[("intern", "none")])
    assert e.value.hint == "did you mean `internal`?"
    assert not (tmp_path / "locks" / "e.json").exists()
    _, notes = applied(both, (("https://other.example/simple", "none"),), ())
    assert notes == ["`exclude-newer-index`: an address there is that of no index that is asked"]


def test_what_is_said_of_them() -> None:
    rules = instants([("internal", "none"), ("https://me:secret@wheels.example/simple/", "2026-01-15")])
    assert told(rules) == [
        "of internal everything was taken whatever its age: `exclude-newer-index` of pyproject.toml",
        "of an index that is named by its address everything was taken up to 2026-01-15T23:59:59Z: "
        "`exclude-newer-index` of pyproject.toml",
    ]
    assert recorded(rules) == {"internal": "none", hidden("https://wheels.example/simple"): "2026-01-15T23:59:59Z"}


def test_pip_has_none_of_an_index(both: IndexSettings) -> None:
    own = replace(both, newer=(("internal", OLD),))
    with pytest.raises(RefusedError, match="cannot be honoured by pip-tools"):
        PipTools("7.6.2", Version("26.0"), host=lambda: (BOOKWORM.platform, BOOKWORM.python)).resolve(
            Question(BOOKWORM, ("a",), own)
        )


def test_a_uv_that_does_not_know_them_is_refused(both: IndexSettings, tmp_path: Path) -> None:
    old = tmp_path / "uv"
    old.write_text("#!/bin/sh\nexit 0\n")
    old.chmod(0o755)
    question = Question(BOOKWORM, ("a",), replace(both, newer=(("internal", OLD),)))
    with pytest.raises(RefusedError, match=r"uv 0\.9 knows no cut-off of single indexes"):
        Uv(str(old), "0.9").resolve(question)


def test_source_distributions(public: SimpleIndex, both: IndexSettings) -> None:
    (public.folder / "s-1.0.tar.gz").write_bytes(b"")
    (public.folder / "s-2.0.tar.gz").write_bytes(b"")
    public.uploaded |= {"s-1.0.tar.gz": OLD, "s-2.0.tar.gz": NEW}
    address = both.indexes[-1].url
    for rules, expected in (((), "1.0"), (((address, "none"),), "2.0")):
        client = IndexClient(replace(both, newer=rules))
        assert _newest("s", ["s"], client, BETWEEN, BOOKWORM)[0] == expected
        client.close()


@pytest.mark.slow
def test_a_lock_with_an_instant_that_is_none(tmp_path: Path, public: SimpleIndex, both: IndexSettings) -> None:
    folder = tmp_path / "locks"
    locked(folder, public, both, cooldowns=[("debian", "none")])
    file = folder / "e.json"
    text = file.read_text()
    for value in ('"yesterday"', "null", "3"):
        file.write_text(text.replace('"debian": "none"', f'"debian": {value}'))
        with pytest.raises(LockError, match=r"\$\.cutoffs\.debian"):
            read(folder, "e")
