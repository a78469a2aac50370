"""The layer of bytecode: beside each module its file, whiteouts for what has none, and no belief in who compiled."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.command import main
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.layer import LayerResult, write_layer
from flyte_build.assemble.plan import parse_plan
from flyte_build.assemble.version import ASSEMBLER

SITE = "opt/venv/lib/python3.11/site-packages"
MAGIC = (3495).to_bytes(2, "little") + b"\r\n"
HEAD = MAGIC + b"\1\0\0\0" + b"12345678"
OF = {"kind": "wheels", "assembler": ASSEMBLER, "python": "3.11", "venv": "/opt/venv", "wheels": []}


def spec_of(**fields: Any) -> dict[str, Any]:
    known = {"kind": "bytecode", "assembler": ASSEMBLER, "title": "bytecode of a 1.0", "python": "3.11", "rules": 1}
    return {**known, "by": "3.11.2-6+deb12u9", "folders": [f"/{SITE}"], "of": OF, **fields}


def compiled(path: Path, files: dict[str, bytes | int | None], **head: object) -> str:
    """As the script writes it: bytes are a module's file, 0 a link, ``None`` does not compile."""
    rows = [[name, len(f) if isinstance(f, bytes) else f] for name, f in files.items()]
    said = {"version": "3.11.2", "magic": MAGIC.hex(), "rows": rows, **head}
    contents = b"".join(f for f in files.values() if isinstance(f, bytes))
    path.write_bytes(json.dumps(said).encode() + b"\n" + contents)
    return str(path)


def written(spec: dict[str, Any], file: str | None) -> tuple[LayerResult, dict[str, bytes]]:
    out = io.BytesIO()
    result = write_layer(spec, lambda sha256: sha256, out, scratch="", compiled=file)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        return result, {m.name: f.read() if (f := tar.extractfile(m)) else b"" for m in tar}


def test_each_file_lies_beside_its_module(tmp_path: Path) -> None:
    modules = {f"{SITE}/a/__init__.py": HEAD + b"one", f"{SITE}/b.py": HEAD + b"two"}
    result, found = written(spec_of(), compiled(tmp_path / "compiled", modules))
    files = {name: data for name, data in found.items() if data}
    assert files == {
        f"{SITE}/a/__pycache__/__init__.cpython-311.pyc": HEAD + b"one",
        f"{SITE}/__pycache__/b.cpython-311.pyc": HEAD + b"two",
    }
    assert result.warnings == ()
    assert result.diff_id == "sha256:cffd2f5341dc92c48aced8339a980fd4890000aed406307a076eb8dc3e1bbb22"


def test_what_does_not_compile_hides_what_lies_below(tmp_path: Path) -> None:
    modules = {f"{SITE}/good.py": HEAD, f"{SITE}/link.py": 0, f"{SITE}/two.py": None}
    result, found = written(spec_of(), compiled(tmp_path / "compiled", modules))
    assert {name.rpartition("/")[2] for name in found if "cpython" in name} == {
        "good.cpython-311.pyc", ".wh.link.cpython-311.pyc", ".wh.two.cpython-311.pyc",
    }  # fmt: skip
    assert result.warnings == ("bytecode of a 1.0: `two.py` left out, being no Python 3.11",)


def test_a_layer_of_no_module_is_neither_empty_nor_there_twice(tmp_path: Path) -> None:
    file = compiled(tmp_path / "compiled", {})
    one, found = written(spec_of(), file)
    assert any(name.endswith(".none") for name in found)
    two, _ = written(spec_of(of={**OF, "wheels": [{"file": "b.whl", "sha256": "0" * 64}]}), file)
    assert one.digest != two.digest


@pytest.mark.parametrize(
    ("files", "head", "fields", "message"),
    [
        ({}, {"version": "3.11.4"}, {}, r"expected bytecode of Python 3\.11\.2-6\+deb12u9, found that of 3\.11\.4"),
        ({}, {"magic": "cb0d0d0a"}, {}, r"expected the magic number of Python 3\.11, found cb0d0d0a"),
        ({}, {"magic": "a70d0000"}, {}, "expected the magic number"),
        ({}, {"rows": [["x"]]}, {}, "expected what `compiling.py` writes"),
        ({}, {"rows": [[f"{SITE}/a.py", 99]]}, {}, "expected bytecode of Python"),
        ({}, {"rows": [[f"{SITE}/a.py", -5]]}, {}, "expected bytecode of Python"),
        ({f"{SITE}/a.py": HEAD, f"{SITE}/A.py": HEAD}, {}, {}, "by path, each once"),
        ({f"{SITE}/a.py": b"short"}, {}, {}, "expected bytecode of Python"),
        ({f"{SITE}/a.py": MAGIC + bytes(12)}, {}, {}, "PEP 552"),
        ({f"{SITE}/a.py": b"\1\2\r\n" + HEAD[4:]}, {}, {}, "PEP 552"),
        ({"usr/bin/a.py": HEAD}, {}, {}, "`usr/bin/a.py` is no module below"),
        ({f"{SITE}/../a.py": HEAD}, {}, {}, r"\.\."),
        ({f"{SITE}/a.so": HEAD}, {}, {}, "is no module below"),
        ({}, {}, {"rules": 2}, "the plan is for bytecode rules 2, these are rules 1"),
    ],
)
def test_what_another_wrote_is_refused(
    tmp_path: Path, files: dict[str, bytes], head: dict[str, object], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssembleError, match=message):
        written(spec_of(**fields), compiled(tmp_path / "compiled", {**files}, **head))


def test_more_than_the_rows_say_is_refused(tmp_path: Path) -> None:
    file = Path(compiled(tmp_path / "compiled", {f"{SITE}/a.py": HEAD}))
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(AssembleError, match="bytes of bytecode, found"):
        written(spec_of(), str(file))


def test_without_a_compiler_it_says_how() -> None:
    with pytest.raises(AssembleError, match=r"run `compiling\.py` on the finished layer"):
        written(spec_of(), None)


@pytest.mark.parametrize("field", ["python", "by", "rules", "of", "folders"])
def test_a_plan_has_every_field(field: str) -> None:
    spec = spec_of()
    del spec[field]
    plan = {"schema": 1, "platform": "linux/amd64", "config": {}, "layers": [spec]}
    with pytest.raises(AssembleError, match=rf"\$\.layers\[0\]\.{field}: expected"):
        parse_plan(json.dumps(plan).encode(), "plan")


def test_a_plan_has_a_whole_layer_that_it_is_of() -> None:
    plan = {"schema": 1, "platform": "linux/amd64", "config": {}, "layers": [spec_of(of={**OF, "wheels": [{}]})]}
    with pytest.raises(AssembleError, match=r"\$\.layers\[0\]\.of\.wheels\[0\]\.file: expected"):
        parse_plan(json.dumps(plan).encode(), "plan")


def test_the_command_makes_it_as_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = compiled(tmp_path / "compiled", {f"{SITE}/b.py": HEAD + b"two"})
    (tmp_path / "spec.json").write_text(json.dumps(spec_of()))
    out = tmp_path / "layer"
    assert main(["layer", str(tmp_path / "spec.json"), str(out), "--compiled", file]) == 0
    said = json.loads((out / "result.json").read_text())
    assert said["digest"] == capsys.readouterr().out.strip()
    assert main(["layer", str(tmp_path / "spec.json"), str(tmp_path / "other")]) == 8
