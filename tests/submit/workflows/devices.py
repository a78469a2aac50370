"""Tasks that ask for a GPU, and one that does not; each tells what it sees."""

import ctypes
import glob
import os
import shutil
import subprocess

import flyte

gpu = flyte.TaskEnvironment(name="leaf", resources=flyte.Resources(cpu=1, gpu="H200:1"))
kept = flyte.TaskEnvironment(
    name="middle",
    resources=flyte.Resources(gpu=1),
    reusable=flyte.ReusePolicy(replicas=1, concurrency=2, idle_ttl=3600),
)
top = flyte.TaskEnvironment(name="top", depends_on=[gpu, kept])


def seen() -> list[str]:
    found = [*sorted(glob.glob("/dev/nvidia*")), f"sees {os.environ.get('NVIDIA_VISIBLE_DEVICES')}"]
    try:
        ctypes.CDLL("libcuda.so.1")
        found.append("libcuda")
    except OSError:
        pass
    if shutil.which("nvidia-smi"):
        found.append(subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=True).stdout.strip())
    return found


@gpu.task
async def one(x: int) -> list[str]:
    with open("/dev/nvidiactl", "wb", buffering=0) as f:
        assert f.write(b"x") == 1
    node = next(name for name in sorted(glob.glob("/dev/nvidia*")) if name[-1].isdigit())
    (held,) = glob.glob("/mnt/flyte/runs/*/raw")
    # Where another one has the same device now, there is such a file already.
    mine = f"{held}/{os.path.basename(node)}"
    os.close(os.open(mine, os.O_CREAT | os.O_EXCL))
    try:
        return seen()
    finally:
        os.unlink(mine)


@kept.task
async def held(x: int) -> list[str]:
    return seen()


@top.task
async def main() -> list[list[str]]:
    return [seen(), *[x async for x in flyte.map.aio(one, range(2))]]


@top.task
async def main_held() -> list[list[str]]:
    """The last one waits for the device that the idle replica has, and would keep."""
    return [*[x async for x in flyte.map.aio(held, range(3))], await one(0)]


@top.task
async def main_without() -> list[list[str]]:
    return [x async for x in flyte.map.aio(held, range(3))]
