"""``get_uv.py``: as pip would have installed uv where that is plain, and nothing wherever it is not."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import venv
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import get_uv

ROOT = Path(__file__).parents[1]
VERSION = "1.2.3"
GLIBC = (2, 36)


def wheel(more: dict[str, bytes] | None = None) -> bytes:
    made = io.BytesIO()
    files = {
        "uv/__init__.py": b"'uv'\n",
        f"uv-{VERSION}.data/scripts/uv": b"\x7fELF uv",
        f"uv-{VERSION}.dist-info/METADATA": f"Metadata-Version: 2.3\nName: uv\nVersion: {VERSION}\n".encode(),
        f"uv-{VERSION}.dist-info/WHEEL": b"Wheel-Version: 1.0\n",
        f"uv-{VERSION}.dist-info/RECORD": b"uv/__init__.py,,\n",
        **(more or {}),
    }
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def file(platform: str, **more: Any) -> dict[str, Any]:
    name = f"uv-{VERSION}-py3-none-{platform}.whl"
    return {"filename": name, "url": f"../files/{name}", "hashes": {"sha256": platform}, **more}


# -- what pip is told ----------------------------------------------------------------------------------------------


def test_the_more_special_file_wins(tmp_path: Path) -> None:
    home, own = tmp_path / "home", tmp_path / "own.conf"
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".pip").mkdir()
    (home / ".pip" / "pip.conf").write_text("[global]\nindex-url = https://old.example/simple\ntimeout = 3\n")
    (home / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex_url = https://new.example/simple\n[install]\nextra-index-url =\n  https://a.example\n  https://b.example\n"
    )
    environ = {"HOME": str(home), "XDG_CONFIG_DIRS": str(tmp_path / "none")}
    found = get_uv.settings(environ)
    assert found["global.index-url"] == "https://new.example/simple"
    assert found["global.timeout"] == "3"
    assert found["install.extra-index-url"] == "https://a.example https://b.example"
    own.write_text("[global]\nindex-url = https://own.example/simple\n")
    assert get_uv.settings({**environ, "PIP_CONFIG_FILE": str(own)})["global.index-url"] == "https://own.example/simple"
    assert get_uv.settings({**environ, "PIP_CONFIG_FILE": os.devnull}) == {}
    own.write_text("no section\n")
    with pytest.raises(get_uv.PipDoesIt):
        get_uv.settings({**environ, "PIP_CONFIG_FILE": str(own)})


# -- which wheel ---------------------------------------------------------------------------------------------------


def test_the_wheel_is_for_this_machine_and_its_library() -> None:
    files = [
        file("musllinux_1_1_x86_64"),
        file("manylinux_2_17_aarch64.manylinux2014_aarch64"),
        file("manylinux_2_99_x86_64"),
        file("manylinux_2_12_x86_64", yanked="broken"),
        file("manylinux_2_17_x86_64.manylinux2014_x86_64"),
    ]
    page = {"files": files}
    assert get_uv.wheel_of(page, VERSION, "x86_64", GLIBC) == (files[4]["url"], files[4]["hashes"]["sha256"])
    assert get_uv.wheel_of(page, VERSION, "aarch64", GLIBC)[0] == files[1]["url"]
    for version, machine, glibc in (
        (VERSION, "riscv64", GLIBC),
        (VERSION, "x86_64", (2, 16)),
        ("1.2", "x86_64", GLIBC),
    ):
        with pytest.raises(get_uv.PipDoesIt):
            get_uv.wheel_of(page, version, machine, glibc)


# -- installed -----------------------------------------------------------------------------------------------------


def test_it_lies_as_pip_would_have_laid_it(tmp_path: Path) -> None:
    packages, scripts = tmp_path / "lib" / "site-packages", tmp_path / "bin"
    get_uv.install(wheel(), VERSION, packages, scripts)
    assert (scripts / "uv").read_bytes() == b"\x7fELF uv"
    assert os.access(scripts / "uv", os.X_OK)
    record = (packages / f"uv-{VERSION}.dist-info" / "RECORD").read_text().splitlines()
    listed = {line.split(",")[0] for line in record}
    there = {os.path.relpath(p, packages) for p in tmp_path.rglob("*") if p.is_file()}
    assert listed == there
    assert "../../bin/uv" in listed


@pytest.mark.parametrize(
    "more",
    [
        {"../outside": b""},
        {"other/__init__.py": b""},
        {f"uv-{VERSION}.data/data/etc/x": b""},
        {f"uv-{VERSION}.data/scripts/deep/x": b""},
        {f"uv-{VERSION}.data/scripts/uvx": b"#!python\n"},
    ],
)
def test_what_is_not_like_uvs_is_left_to_pip(tmp_path: Path, more: dict[str, bytes]) -> None:
    with pytest.raises(get_uv.PipDoesIt):
        get_uv.install(wheel(more), VERSION, tmp_path / "lib", tmp_path / "bin")
    assert not list(tmp_path.iterdir())


class Index(BaseHTTPRequestHandler):
    """Has one page and one file."""

    def __init__(self, answers: dict[str, tuple[str, bytes]], asked: list[str], *rest: Any) -> None:
        self.answers, self.asked = answers, asked
        super().__init__(*rest)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        kind, data = self.answers.get(self.path, ("", b""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return None


JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=False)
    return folder


@pytest.fixture
def index() -> Iterator[tuple[str, dict[str, tuple[str, bytes]], list[str]]]:
    answers: dict[str, tuple[str, bytes]] = {}
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, answers, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    machine = os.uname().machine
    listed = file(f"manylinux_2_17_{machine}.manylinux2014_{machine}")
    listed["hashes"]["sha256"] = hashlib.sha256(wheel()).hexdigest()
    answers["/simple/uv/"] = JSON, json.dumps({"meta": {"api-version": "1.1"}, "files": [listed]}).encode()
    answers[f"/simple/files/{listed['filename']}"] = "application/octet-stream", wheel()
    yield f"http://127.0.0.1:{server.server_port}/simple", answers, asked
    server.shutdown()
    server.server_close()


def run(environment: Path, tmp_path: Path, **variables: str) -> int:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"other==1\nuv=={VERSION}\n")
    words = [
        str(environment / "bin" / "python"),
        str(ROOT / "get_uv.py"),
        "install",
        "no-wheel-of-pip",
        str(constraints),
    ]
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": os.devnull, **variables}
    return subprocess.run(words, env=environ, check=False, capture_output=True).returncode


def there(environment: Path) -> bool:
    return (environment / "bin" / "uv").exists() or bool(list(environment.glob("lib/*/site-packages/uv*")))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pip does it elsewhere")
def test_from_an_index_as_configured(
    environment: Path, tmp_path: Path, index: tuple[str, dict[str, tuple[str, bytes]], list[str]]
) -> None:
    url, answers, asked = index
    # Where pip may do otherwise, nobody is asked at all.
    for name in ("PIP_NO_INDEX", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CLIENT_CERT"):
        assert run(environment, tmp_path, PIP_INDEX_URL=url, **{name: "1"}) == 1
    assert run(environment, tmp_path, PIP_INDEX_URL=url.replace("127.0.0.1", "127.0.0.2")) == 1
    assert run(environment, tmp_path) == 1, "pip's default is what its wheel says, and there is none"
    assert not asked
    # What is not as it has to be.
    for path, (kind, data) in list(answers.items()):
        for other in (("text/html", data), (kind, data[:-1])) if kind == JSON else ((kind, data + b"x"),):
            answers[path] = other
            assert run(environment, tmp_path, PIP_INDEX_URL=url) == 1
        answers[path] = kind, data
    assert not there(environment)
    assert run(environment, tmp_path, PIP_INDEX_URL=url) == 0
    assert (environment / "bin" / "uv").read_bytes() == b"\x7fELF uv"
    shown = "import importlib.metadata as m; print(m.version('uv'), m.distribution('uv').read_text('INSTALLER'))"
    said = subprocess.run([environment / "bin" / "python", "-c", shown], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [VERSION, "flyte-build's", "dev"]
