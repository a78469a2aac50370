"""Files and folders that are gone when their task returns."""

import os
import tempfile
from pathlib import Path

import flyte
from flyte.io import Dir, File

env = flyte.TaskEnvironment("leaf")


@env.task
async def count(d: Dir) -> list[str]:
    folder = Path(await d.download())
    return sorted(f"{p.relative_to(folder)}={p.read_text()}" for p in folder.rglob("*") if p.is_file())


@env.task
async def read(f: File) -> str:
    async with f.open("rb") as h:
        return bytes(await h.read()).decode()


@env.task
async def main() -> list[str]:
    with tempfile.TemporaryDirectory() as t:
        folder = Path(t)
        (folder / "sub").mkdir()
        (folder / "a.txt").write_text("a")
        (folder / "sub" / "b.txt").write_text("b")
        made = await Dir.from_local(t)
        one = await File.from_local(str(folder / "a.txt"))
        (folder / "a.txt").write_text("changed afterwards")
    named = os.path.join(tempfile.mkdtemp(), "named.txt")
    Path(os.path.dirname(named), "x").write_text("named")
    two = await File.from_local(os.path.join(os.path.dirname(named), "x"), named)
    return [*await count(made), await read(one), f"{two.path == named}"]


@env.task
def both(f: File, d: Dir) -> list[str]:
    with f.open_sync("rb") as h:
        return [bytes(h.read()).decode(), *(p.name for p in Path(d.download_sync()).iterdir())]


@env.task
def sync() -> list[str]:
    from flyte.io import Dir as Later

    with tempfile.TemporaryDirectory() as t:
        Path(t, "a.txt").write_text("sync")
        file, folder = File.from_local_sync(os.path.join(t, "a.txt")), Later.from_local_sync(t)
    return both(file, folder)
