"""The shapes: small Flyte projects that a user could have written, with how many of a thousand public files are so.

The counts are those of 644 public example files (images, environments, tasks); each shape has what such a file is
about and nothing else, so that an outcome names its cause. Our own text; no file of anybody's is copied.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SHAPES", "Shape"]

HEAD = "import flyte\n\n"
DEBIAN = 'flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))'
TASK = "\n\n@env.task\ndef main(x: int = 1) -> int:\n    return x + 1\n"


def _env(image: str, more: str = "") -> str:
    return f'env = flyte.TaskEnvironment(name="e", image={image}{more})\n'


@dataclass(frozen=True, slots=True)
class Shape:
    """``files`` by path, the Flyte file first; ``weight`` in a thousand. ``needs``: what the machine must offer to lock
    it, and ``expected`` how it ends where that is there: ``ok``, or the kind of outcome (see ``drive``)."""

    name: str
    weight: int
    files: dict[str, str]
    needs: str = "index"
    expected: str = "ok"


def _one(name: str, weight: int, text: str, needs: str = "index", expected: str = "ok", **others: str) -> Shape:
    files = {"flow.py": HEAD + text}
    return Shape(name, weight, files | {k.replace("__", "/") + ".py": v for k, v in others.items()}, needs, expected)


PIP = f'{DEBIAN}.with_pip_packages("six")'

SHAPES: tuple[Shape, ...] = (
    _one("default image", 240, 'env = flyte.TaskEnvironment(name="e")\n' + TASK),
    _one("pip packages", 215, _env(PIP) + TASK),
    _one("pip packages, pinned", 60, _env(f'{DEBIAN}.with_pip_packages("six==1.17.0", "toolz>=1,<2")') + TASK),
    _one("resources", 60, _env(PIP, ', resources=flyte.Resources(cpu="1", memory="1Gi", gpu="L4:1")') + TASK),
    _one("env vars and secrets", 40, _env(f'{PIP}.with_env_vars({{"A": "b"}})', ', secrets="TOKEN"') + TASK),
    _one(
        "depends_on",
        75,
        f'low = flyte.TaskEnvironment(name="low", image={PIP})\n'
        "@low.task\nasync def leaf(x: int) -> int:\n    return x\n\n"
        + _env(DEBIAN, ", depends_on=[low]")
        + "\n@env.task\nasync def main(x: int = 1) -> int:\n    return await leaf(x)\n",
    ),
    _one(
        "called through the root",
        10,
        f'low = flyte.TaskEnvironment(name="low", image={PIP})\n'
        f'mid = flyte.TaskEnvironment(name="mid", image={DEBIAN})\n'
        "@low.task\nasync def leaf(x: int) -> int:\n    return x\n@mid.task\nasync def branch(x: int) -> int:\n"
        "    return await leaf(x)\n\n"
        + _env(DEBIAN, ", depends_on=[low, mid]")
        + "\n@env.task\nasync def main(x: int = 1) -> int:\n    return await branch(x)\n",
    ),
    _one(
        "imports what is not installed",
        60,
        "import humanize\nfrom humanize.time import naturaltime\n\n"
        + _env(f'{DEBIAN}.with_pip_packages("humanize")')
        + "\n@env.task\ndef main(x: int = 1) -> int:\n    return x\n",
    ),
    _one(
        "imports what its image lacks",
        5,
        "import humanize\n\n" + _env(PIP) + TASK,
        expected="missing import",
    ),
    _one(
        "a plug-in's configuration",
        50,
        "from flyteplugins.dask import Dask\n\n"
        f'image = {DEBIAN}.with_pip_packages("flyteplugins-dask")\n'
        'env = flyte.TaskEnvironment(name="e", plugin_config=Dask(), image=image)\n' + TASK,
    ),
    _one(
        "an app of a plug-in",
        25,
        "from flyteplugins.vllm import VLLMAppEnvironment\n\n"
        f'app = VLLMAppEnvironment(name="llm", model_id="m", image={PIP})\n',
    ),
    _one(
        "a web app",
        30,
        "from fastapi import FastAPI\nfrom flyte.app.extras import FastAPIAppEnvironment\n\napp = FastAPI()\n"
        f'\n@app.get("/")\nasync def root() -> dict:\n    return {{}}\n\n'
        f'env = FastAPIAppEnvironment(name="web", app=app, image={PIP})\n',
    ),
    _one("apt packages", 30, _env(f'{DEBIAN}.with_apt_packages("git")') + TASK, needs="debian"),
    _one("a module beside", 30, "import helper\n\n" + _env(PIP) + TASK, helper="X = 1\n"),
    Shape(
        "src layout",
        15,
        {
            "flows/flow.py": HEAD + "from mine.core import X\n\n" + _env(PIP) + TASK,
            "src/mine/__init__.py": "",
            "src/mine/core.py": "X = 1\n",
            "pyproject.toml": '[project]\nname = "mine"\nversion = "0"\n',
        },
    ),
    Shape(
        "a script's header",
        30,
        {
            "flow.py": '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["flyte", "six"]\n# ///\n'
            + HEAD
            + 'env = flyte.TaskEnvironment(name="e", image=flyte.Image.from_uv_script(__file__, name="s"))\n'
            + TASK
        },
    ),
    _one("code in the image", 10, _env(f"{DEBIAN}.with_code_bundle()") + TASK),
    _one("a base by name", 10, _env('flyte.Image.from_base("nowhere.invalid/base:1")') + TASK, expected="unreachable"),
    _one("another Python", 10, _env("flyte.Image.from_debian_base(python_version=(3, 12))") + TASK, needs="pythons"),
)
