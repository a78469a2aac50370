"""The runs of a target in a browser, from its storage alone: any machine that reaches it sees them."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from obstore.store import LocalStore

from flyte_build.kernel.errors import RunError
from flyte_build.pages import Pages
from flyte_build.submit.action import Phase
from flyte_build.workbench import run_pages, tailing
from flyte_build.workbench.run_pages import serving
from tests.support.runs import Call, make_run, store_run


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The storage of the target `prod` of this folder's settings, which knows no cluster."""
    folder = tmp_path / "storage"
    folder.mkdir()
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.flyte-build.targets.prod]\nnamespace = "ml"\nstorage = "file://{folder}"\nkubeconfig = "none"\n'
    )
    monkeypatch.setenv("FLYTE_BUILD_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def pages(storage: Path, tmp_path: Path) -> Iterator[Pages]:
    calls = [
        Call("a0", task="env.main", inputs={"x": "3"}, outputs={"o0": "done"}, log="hello\n", report="<h1>loss</h1>"),
        Call("b", "a0", task="env.<b>", phase=Phase.RUNNING, times=(0.0, 0.5, None)),
    ]
    run = make_run(tmp_path / "elsewhere", calls, ended=False)
    store_run(run, LocalStore(storage), f"file://{storage}")
    served = serving(on="prod")
    worker = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    worker.start()
    yield served
    served.shutdown()
    served.server_close()
    worker.join()


def got(pages: Pages, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", pages.server_address[1], timeout=10)
    connection.request("GET", f"/{pages.token}/{path}")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text
    return text


def details(pages: Pages, action: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(got(pages, f"api/r20261120-101500-ab12/{action}"))
    return found


def test_the_list_the_page_and_what_one_action_left(pages: Pages) -> None:
    listed = got(pages, "")
    assert "<h1>Runs on prod</h1>" in listed
    assert 'href="run/r20261120-101500-ab12"' in listed
    assert '"task":"env.main"' in got(pages, "run/r2026")
    root = details(pages, "a0")
    assert (root["inputs"], root["outputs"]) == ({"x": '"3"'}, {"o0": '"done"'})
    assert root["logs"] == [{"number": 1, "text": "hello\n", "size": 6}]
    assert root["report"] == "<h1>loss</h1>"


def test_what_a_pod_prints_is_shown_where_the_cluster_is_reached(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    assert details(pages, "b")["later"].startswith("the cluster is not reached from here")
    printed = [b"", b"epoch 1\n"]
    monkeypatch.setattr(tailing, "cluster_of", lambda on: object())
    monkeypatch.setattr(tailing, "pod_log", lambda cluster, run, record, **query: printed.pop(0))
    other = serving(on="prod")
    other.server_close()
    run = other.find("r2026")
    (_, record) = run.actions
    assert other.details(run, record)["later"].startswith("its pod has printed nothing yet")
    assert other.details(run, record)["logs"] == [{"number": 1, "text": "epoch 1\n", "size": 8}]
    assert "logs" in other.details(run, run.actions[0]), "no pod is asked for what has ended"
    assert printed == []


def test_a_storage_without_runs_and_one_that_cannot_be_read(storage: Path) -> None:
    served = serving(on="prod")
    served.server_close()
    assert served.runs() == []
    with pytest.raises(RunError, match="no run `r9`"):
        served.find("r9")
    with pytest.raises(RunError, match="there are no runs on prod yet"):
        run_pages.target_page_run("prod", None)
