"""The page of a run of a cluster has what that of a run here has, from the storage alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from obstore.store import MemoryStore

from flyte_build.pages.document import document_of
from flyte_build.submit.kubernetes import reading
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.page_files import fetch_page
from tests.support.runs import Call, make_run, store_run

NAME = "r20261120-101500-ab12"
URL = "s3://bucket/base"


def stored(tmp_path: Path, calls: list[Call]) -> tuple[Mirror, dict[str, object]]:
    """A run here, put into a storage as a cluster has it; and the page of the one here."""
    here = make_run(tmp_path / "here", calls)
    mirror = Mirror(URL, tmp_path / "mirror", MemoryStore())
    store_run(here, mirror.store, URL)
    return mirror, document_of(here)


async def _page(mirror: Mirror) -> dict[str, object]:
    run = await fetch_page(mirror, await reading.read_run(mirror, NAME))
    return document_of(run, base=mirror.url)


def test_it_is_the_same_page(tmp_path: Path) -> None:
    calls = [
        Call("a0", task="env.main", times=(0, 0.5, 20), inputs={"x": "3"}, outputs={"o0": "done"}, log="hello\n"),
        Call("b", "a0", times=(1, 9, 12), report="<h1>loss</h1>", group="shards", log="work\n"),
        Call("c", "a0", times=(1, 1, 1), source="cache"),
    ]
    mirror, expected = stored(tmp_path, calls)
    found = asyncio.run(_page(mirror))
    places = [a.pop("report_path", None) for a in (*found["actions"], *expected["actions"])]  # type: ignore[misc]
    assert found == expected
    assert str(tmp_path / "mirror") in str(places[1])


def test_what_is_too_large_is_left_where_it_is(tmp_path: Path) -> None:
    mirror, _ = stored(tmp_path, [Call("a0", report="r" * (3 << 20), inputs={"x": "y" * (5 << 20)})])
    (action,) = asyncio.run(_page(mirror))["actions"]  # type: ignore[misc]
    assert "report" not in action
    assert "inputs" not in action
    assert not list((tmp_path / "mirror").rglob("*.html"))
