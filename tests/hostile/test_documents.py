"""JSON that breaks parsers: an error in words, with the exit code of who sent it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.documents import DEEPEST, is_number, parse, parse_object
from flyte_build.kernel.errors import ArtifactError, LockError, RegistryError, RunError
from flyte_build.locking.base_documents import document_of, settings_of
from flyte_build.locks import lockfile
from flyte_build.registry.client import _media_type
from flyte_build.registry.values import Manifest
from flyte_build.sources.indexes.pages import parse_json
from flyte_build.submit.journal import ActionRecord, read_journal

BROKEN = {
    "a number of 5000 digits": '{"a": ' + "9" * 5000 + "}",
    "a number of 20 digits": '{"a": ' + "9" * 20 + "}",
    "infinity": '{"a": 1e999}',
    "NaN": '{"a": NaN}',
    "half a pair": '{"a": "\\ud800"}',
    "half a pair in a key": '{"\\udfff": 1}',
    "arrays in arrays": '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "objects in objects": '{"a": ' * 101 + "1" + "}" * 101,
    "no end": '{"a": ',
    "nothing": "",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_parser_is_refused_by_every_reader(name: str, tmp_path: Path) -> None:
    text = BROKEN[name]
    data = text.encode()
    with pytest.raises(ValueError) as e:
        parse(data)
    assert type(e.value) is ValueError or isinstance(e.value, json.JSONDecodeError)
    with pytest.raises(LockError, match=r"lock\.json"):
        lockfile.parse(text, tmp_path / "lock.json")
    with pytest.raises(RegistryError, match="manifest sha256:0"):
        list(Manifest("t", "sha256:0", data).blobs())
    with pytest.raises(RegistryError, match="registry"):
        _media_type("", data, "registry")
    with pytest.raises(ArtifactError, match="the configuration is no JSON"):
        document_of(data, "the configuration")
    with pytest.raises(ValueError):
        parse_json(text, "x")
    journal = tmp_path / "journal"
    journal.write_bytes(b'{"run": {}}\n' + (data.replace(b"\n", b"") or b"[]") + b"}\n" + b'{"run": {}}\n')
    with pytest.raises(RunError, match="journal:2"):
        list(read_journal(journal))


def test_no_utf8() -> None:
    with pytest.raises(ValueError, match="no UTF-8"):
        parse(b'{"a": "\xff"}')


@pytest.mark.parametrize("text", ["null", "[]", "1", '"x"', "true"])
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(ValueError, match="expected an object"):
        parse_object(text)


@pytest.mark.parametrize(
    "value",
    [{"a": [1, -5, 1.5, True, None, "ä日\U0001f40d"]}, [], 10**17, {"deep": json.loads("[" * 90 + "]" * 90)}],
)
def test_honest_documents_are_as_they_are(value: Any) -> None:
    assert parse(json.dumps(value)) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value
    assert DEEPEST > 90


_GOOD = {"mediaType": "a/b", "digest": "sha256:" + "0" * 64, "size": 1}


@pytest.mark.parametrize(
    "entry",
    [
        *(
            1,
            "x",
            [],
            {},
            {**_GOOD, "size": -1},
            {**_GOOD, "size": "1"},
            {**_GOOD, "size": True},
            {**_GOOD, "size": None},
        ),
        *({**_GOOD, "digest": v} for v in (None, 1, "", "sha256:", "../../x", "sha256:../x", "sha256:\n", {})),
        *({**_GOOD, "mediaType": v} for v in (None, 1, "", "\x1b[2J", "a" * 300, [])),
    ],
)
def test_an_entry_that_is_no_descriptor(entry: object) -> None:
    for document, where in (({"config": entry}, "config"), ({"layers": [_GOOD, entry]}, r"layers\[1\]")):
        manifest = Manifest("t", "sha256:0", json.dumps(document).encode())
        with pytest.raises(RegistryError, match=f"manifest sha256:0: {where}: expected") as e:
            list(manifest.blobs())
        assert e.value.exit_code == 14


@pytest.mark.parametrize("layers", [1, "x", {"a": 1}, True])
def test_layers_that_are_no_list(layers: object) -> None:
    with pytest.raises(RegistryError, match="layers: expected a list"):
        list(Manifest("t", "sha256:0", json.dumps({"layers": layers}).encode()).blobs())


@pytest.mark.parametrize(
    "config",
    [
        *(1, "x", ["Env"], {"Env": "PATH=/bin"}, {"Env": [1]}, {"Env": ["A=\0"]}, {"User": 0}, {"User": []}),
        *(
            {"WorkingDir": {}},
            {"WorkingDir": "/\0"},
            {"Cmd": "sh"},
            {"Entrypoint": [None]},
            {"Labels": []},
            {"Volumes": "x"},
        ),
    ],
)
def test_settings_of_wrong_types(config: object) -> None:
    with pytest.raises(ArtifactError, match=r"base: config.*: expected|holds a NUL") as e:
        settings_of(config, "base")
    assert e.value.exit_code == 8


@pytest.mark.parametrize(
    "record",
    [
        *({}, {"name": 1}, {"name": "a", "phase": "lost"}, {"name": "a", "phase": []}, {"name": "a", "error": "x"}),
        *({"name": "a", "error": {"kind": "user"}}, {"name": "a", "queued": "x"}, {"name": "a", "started": True}),
    ],
)
def test_a_record_that_is_none(record: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="the journal's record"):
        ActionRecord.from_json(record)


@pytest.mark.parametrize("text", ["", "²", "٣", "-1", "1.5", "9" * 5000, " 1", "0x1"])
def test_a_header_that_is_no_number(text: str) -> None:
    assert not is_number(text)
    assert is_number("0123456789")
