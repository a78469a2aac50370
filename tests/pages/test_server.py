"""Runs, served: to who has the token and asks this machine by its own name, and to nobody else."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.pages.server import Pages
from flyte_build.submit.history import list_runs, read_run

from ..support.runs import Call, make_run


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    make_run(tmp_path, [Call("a0", task="env.main", log="hello"), Call("b", "a0", task="env.<b>")])
    served = Pages(lambda: list_runs(tmp_path), lambda name: read_run(tmp_path, name))
    worker = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    worker.start()
    yield served
    served.shutdown()
    served.server_close()
    worker.join()


def get(pages: Pages, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    port = pages.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, dict(answer.headers)


def test_the_list_a_page_and_what_it_asks(pages: Pages) -> None:
    token = f"/{pages.token}"
    status, body, headers = get(pages, f"{token}/")
    assert status == 200
    assert 'href="run/r20261120-101500-ab12"' in body
    assert '<td class="succeeded">✓ succeeded</td>' in body
    assert '<td class="n">1.0 s</td><td class="n">2</td></tr>' in body, "how long it took, and how many actions"
    assert headers["Cache-Control"] == "no-store"
    status, body, _ = get(pages, f"{token}/run/r20261120")
    assert status == 200
    assert f'const LIVE = "{token}/api/r20261120-101500-ab12"' in body
    document = json.loads(get(pages, f"{token}/api/r20261120-101500-ab12")[1])
    assert [a["task"] for a in document["actions"]] == ["env.main", "env.<b>"]
    details = json.loads(get(pages, f"{token}/api/r20261120-101500-ab12/a0")[1])
    assert details["logs"][0]["text"] == "hello"


def test_nobody_else_is_answered(pages: Pages) -> None:
    token = f"/{pages.token}"
    for path in ("/", "/x/", "/run/r20261120", "//", f"{token}/other", f"{token}/run/r9", f"{token}/api/r20261120/zz"):
        status, body, _ = get(pages, path)
        assert (path, status) == (path, 404)
        assert "hello" not in body
        assert pages.token not in body
    assert get(pages, f"{token}/", host="evil.example")[0] == 404, "a name that leads here is not this machine's"
    assert get(pages, f"{token}/", method="POST")[0] == 501


def test_a_run_of_nobody_is_named(pages: Pages) -> None:
    status, body, _ = get(pages, f"/{pages.token}/run/r1999")
    assert (status, body.startswith("no run `r1999`")) == (404, True)


def test_it_listens_on_the_loopback_only(pages: Pages) -> None:
    assert pages.server_address[0] == "127.0.0.1"
    assert pages.url.startswith(f"http://127.0.0.1:{pages.server_address[1]}/")
    with pytest.raises(InputError, match="cannot be listened on"):
        Pages(list, pytest.fail, port=pages.server_address[1])
