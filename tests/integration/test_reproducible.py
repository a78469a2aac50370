"""What people ask for that has to be built or configured: sealed twice, the same both times, and it works.

Takes minutes a project, so that ``FLYTE_BUILD_TEST_REPRODUCIBLE`` names which: ``pyspark mysqlclient arm64``, or
``all``; and ``whisper``, which is not among ``all``, as it takes 15 GB of disk. That of arm64 needs an emulator where
the machine is another (``apt install qemu-user-static``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.emulation import foreign
from tests.integration.test_source_builds import sources
from tests.support.cli import Cli
from tests.support.locking import whole_lock
from tests.support.tools import lacking

CHOSEN = os.environ.get("FLYTE_BUILD_TEST_REPRODUCIBLE", "").split()

pytestmark = pytest.mark.integration

FLOW = """\
import flyte

image = flyte.Image.from_debian_base(python_version=(3, 11), platform=("{platform}",)){layers}
env = flyte.TaskEnvironment("env", image=image)


@env.task
def main() -> str:
    {body}
"""
# By name: platform, layers, the task's body, what it gives, what is built.
PROJECTS = {
    "pyspark": (
        "linux/amd64", '.with_pip_packages("pyspark==3.5.6")',
        "import pyspark; return pyspark.__version__", "3.5.6", {"pyspark"},
    ),
    "mysqlclient": (
        "linux/amd64",
        '.with_apt_packages("default-libmysqlclient-dev", "pkg-config", "build-essential")'
        '.with_pip_packages("mysqlclient==2.2.7")',
        "import MySQLdb; return f'{MySQLdb.version_info[:2]}'", "(2, 2)", {"mysqlclient"},
    ),
    "whisper": (
        "linux/amd64", '.with_pip_packages("openai-whisper==20250625")',
        "import numpy, whisper; from whisper.tokenizer import get_tokenizer; words = get_tokenizer(multilingual=True); "
        "mel = whisper.log_mel_spectrogram(numpy.zeros(16000, dtype=numpy.float32)); "
        "return f'{words.decode(words.encode(whisper.__version__))} {tuple(mel.shape)}'",
        "20250625 (80, 100)", {"openai-whisper"},
    ),
    "arm64": (
        "linux/arm64",
        '.with_apt_packages("graphviz").with_pip_packages("langdetect==1.0.9", "fastadd @ ./libs/fastadd")'
        """.with_commands(["uname -m > /opt/arch && python -c 'import fastadd; fastadd.add(40, 2)'"])""",
        "return open('/opt/arch').read()", "", {"fastadd", "langdetect"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROJECTS)
def test_it_is_made_the_same_twice(tmp_path: Path, name: str) -> None:
    if name not in CHOSEN and (name == "whisper" or "all" not in CHOSEN):
        pytest.skip(f"FLYTE_BUILD_TEST_REPRODUCIBLE does not name {name}")
    platform, layers, body, gives, built = PROJECTS[name]
    if foreign(platform, lent=True) is not None:
        lacking(f"no emulator for {platform} (qemu-user-static), or a kernel before 6.7")
    sources(tmp_path)
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW.format(platform=platform, layers=layers, body=body))
    cli = Cli(tmp_path, seconds=1800)
    said = cli("lock", flow)
    assert said.code == 0, said.err
    held: dict[str, Any] = whole_lock(tmp_path / "lockfiles/env.json")["platforms"][platform]
    assert {build["source"]["name"]: build["reproducible"] for build in held["builds"]} == dict.fromkeys(built, True)
    # dpkg configures what has scripts, and commands are steps.
    steps = {"pyspark": [], "whisper": [], "mysqlclient": [-1], "arm64": [-1, 2]}[name]
    assert [(seal["step"], seal["reproducible"]) for seal in held.get("seals", ())] == [(step, True) for step in steps]
    if gives:
        ran = cli("run", flow, "main")
        assert ran.code == 0, ran.err
        assert gives in ran.out
