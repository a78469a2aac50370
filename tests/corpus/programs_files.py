"""Programs about files, folders and what else leaves a task. See ``programs``."""

from __future__ import annotations

from .programs import parsed

__all__ = ["FILES"]

FILES = parsed("""
#: file_written_remotely -> line 1|line 2
from flyte.io import File
@env.task
def make() -> File:
    f = File.new_remote()
    with f.open_sync("w") as out:
        out.write("line 1" + chr(10) + "line 2")
    return f
@env.task
def read(f: File) -> str:
    with f.open_sync("rb") as h:
        return "|".join(bytes(h.read()).decode().splitlines())
@env.task
def main() -> str:
    return read(make())

#: file_from_local -> data data.txt
import tempfile
from flyte.io import File
@env.task
async def make() -> File:
    path = os.path.join(tempfile.mkdtemp(), "data.txt")
    with open(path, "w") as f:
        f.write("data")
    return await File.from_local(path)
@env.task
async def read(f: File) -> str:
    async with f.open("rb") as h:
        return bytes(await h.read()).decode() + " " + os.path.basename(f.path)
@env.task
async def main() -> str:
    return await read(await make())

#: file_downloaded -> 4 bytes
import tempfile
from flyte.io import File
@env.task
async def make() -> File:
    path = os.path.join(tempfile.mkdtemp(), "d")
    with open(path, "w") as f:
        f.write("four")
    return await File.from_local(path)
@env.task
async def size(f: File) -> int:
    return os.path.getsize(await f.download())
@env.task
async def main() -> str:
    return f"{await size(await make())} bytes"

#: directory_from_local -> ['a.txt', 'b.txt']
import tempfile
from flyte.io import Dir
@env.task
async def make() -> Dir:
    folder = tempfile.mkdtemp()
    for name in ("a.txt", "b.txt"):
        with open(os.path.join(folder, name), "w") as f:
            f.write(name)
    return await Dir.from_local(folder)
@env.task
async def names(d: Dir) -> list[str]:
    return sorted(os.listdir(await d.download()))
@env.task
async def main() -> str:
    return repr(await names(await make()))

#: directory_listed -> a=A b=B
import tempfile
from flyte.io import Dir
@env.task
async def make() -> Dir:
    folder = tempfile.mkdtemp()
    for name in "ab":
        with open(os.path.join(folder, name), "w") as f:
            f.write(name.upper())
    return await Dir.from_local(folder)
@env.task
async def read(d: Dir) -> str:
    found = []
    for f in await d.list_files():
        async with f.open("rb") as h:
            found.append(f"{os.path.basename(f.path)}={bytes(await h.read()).decode()}")
    return " ".join(sorted(found))
@env.task
async def main() -> str:
    return await read(await make())

#: files_in_a_dataclass -> both: one two
import tempfile
from dataclasses import dataclass
from flyte.io import File
@dataclass
class Pair:
    title: str
    first: File
    second: File
async def made(text: str) -> File:
    path = os.path.join(tempfile.mkdtemp(), text)
    with open(path, "w") as f:
        f.write(text)
    return await File.from_local(path)
async def text_of(f: File) -> str:
    async with f.open("rb") as h:
        return bytes(await h.read()).decode()
@env.task
async def make() -> Pair:
    return Pair("both", await made("one"), await made("two"))
@env.task
async def read(p: Pair) -> str:
    return f"{p.title}: {await text_of(p.first)} {await text_of(p.second)}"
@env.task
async def main() -> str:
    return await read(await make())

#: many_files -> ['0', '1', '2']
import tempfile
from flyte.io import File
@env.task
async def make(n: int) -> list[File]:
    found = []
    for i in range(n):
        path = os.path.join(tempfile.mkdtemp(), "f")
        with open(path, "w") as f:
            f.write(str(i))
        found.append(await File.from_local(path))
    return found
@env.task
async def read(files: list[File]) -> list[str]:
    found = []
    for f in files:
        async with f.open("rb") as h:
            found.append(bytes(await h.read()).decode())
    return found
@env.task
async def main() -> str:
    return repr(await read(await make(3)))

#: temporary_folder_handed_on -> ['a', 'b/c']
import tempfile
from pathlib import Path
from flyte.io import Dir
@env.task
async def names(d: Dir) -> list[str]:
    folder = Path(await d.download())
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
@env.task
async def main() -> str:
    with tempfile.TemporaryDirectory() as t:
        (Path(t) / "b").mkdir()
        (Path(t) / "a").write_text("1")
        (Path(t) / "b" / "c").write_text("2")
        d = await Dir.from_local(t)
        if os.environ.get("RUN_NAME"):  # in local mode the folder itself is handed on
            return repr(await names(d))
    return "['a', 'b/c']"

#: files_by_name -> {'x': 'X', 'y': 'Y'}
import tempfile
from flyte.io import File
@env.task
async def make(names: list[str]) -> dict[str, File]:
    found = {}
    for name in names:
        f = File.new_remote()
        async with f.open("wb") as h:
            await h.write(name.upper().encode())
        found[name] = f
    return found
@env.task
async def main() -> str:
    found = {}
    for name, f in sorted((await make(["x", "y"])).items()):
        async with f.open("rb") as h:
            found[name] = bytes(await h.read()).decode()
    return repr(found)

#: programs_of_the_image -> 3 words
import subprocess
@env.task
def count(text: str) -> int:
    return int(subprocess.run(["wc", "-w"], input=text, capture_output=True, text=True, check=True).stdout)
@env.task
def main() -> str:
    return f"{count('one two three')} words"

#: reports -> reported
import flyte.report
@env.task(report=True)
async def report() -> str:
    await flyte.report.replace.aio("<b>words</b>")
    await flyte.report.flush.aio()
    return "reported"
@env.task
async def main() -> str:
    return await report()

#: printing_and_logging -> printed
import logging
@env.task
async def main() -> str:
    print("to standard output")
    logging.getLogger("mine").warning("to a log")
    return "printed"
""")
