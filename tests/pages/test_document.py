"""What a run's page knows: calls, attempts, values, logs and reports, each with its bound, nothing through links."""

from __future__ import annotations

import json
from pathlib import Path

from flyte_build.pages.document import details_of, document_of
from flyte_build.pages.rendering import embedded, render_page
from flyte_build.submit.action import ErrorInfo, Phase

from ..support.runs import START, Call, make_run


def test_attempts_values_logs_and_reports(tmp_path: Path) -> None:
    calls = [
        Call("a0", task="env.main", times=(0, 0.5, 20), inputs={"x": "3"}, outputs={"o0": "done"}, log="hello\n"),
        Call("b", "a0", times=(1, 9, 12), failed_attempts=((2, 4), (5, 8)), report="<h1>loss</h1>", group="shards"),
        Call("c", "a0", times=(1, 1, 1), source="cache"),
    ]
    invocation = {"file": "a b.py", "task": "main", "arguments": ["--x", "3"]}
    run = make_run(tmp_path, calls, invocation=invocation, docs={"env.main": "Begins."})
    said = document_of(run)
    root, b, c = said["actions"]
    assert (said["phase"], said["ended"], said["command"]) == (
        "succeeded",
        START + 20,
        "flyte-build run 'a b.py' main --x 3",
    )
    assert (root["inputs"], root["outputs"]) == ({"x": '"3"'}, {"o0": '"done"'})
    assert root["logs"] == [{"number": 1, "text": "hello\n", "size": 6}]
    assert [(t["number"], t["started"] - START, t["ended"] - START, t["phase"]) for t in b["attempts"]] == [
        (1, 2, 4, "failed"),
        (2, 5, 8, "failed"),
        (3, 9, 12, "succeeded"),
    ]
    assert (root["doc"], b["doc"], b["queue"], b["interruptible"], b["short_name"]) == ("Begins.", "", "", False, "")
    assert (b["report"], b["group"], b["parent"]) == ("<h1>loss</h1>", "shards", "a0")
    assert c["source"] == "cache"
    assert said["images"] == {"env": f"sha256:{'1' * 64}"}
    light = document_of(run, light=True)
    assert not {"logs", "inputs", "outputs", "report"} & light["actions"][0].keys()
    assert light["actions"][0] | details_of(run, run.actions[0]) == root


def test_an_error_and_a_run_that_was_killed(tmp_path: Path) -> None:
    error = ErrorInfo("ValueError", "no rows")
    run = make_run(tmp_path, [Call("a0", times=(0, 1, None), phase=Phase.RUNNING, error=error)], ended=False)
    said = document_of(run)
    assert said["phase"] == "killed"
    assert said["ended"] is None
    assert said["actions"][0]["error"] == {"code": "ValueError", "message": "no rows", "kind": "user"}
    assert said["actions"][0]["attempts"] == [
        {"number": 1, "started": START + 1, "ended": None, "phase": "running", "error": ""}
    ]


def test_what_is_long_is_cut(tmp_path: Path) -> None:
    call = Call("a0", log="0123456789" * 20_000 + "end", outputs={"o0": "x" * 10_000}, report="r" * (3 << 20))
    (action,) = document_of(make_run(tmp_path, [call]))["actions"]
    (log,) = action["logs"]
    assert log["size"] == 200_003
    assert len(log["text"]) == 64 << 10
    assert log["text"].endswith("789end"), "its end is what people look for"
    assert action["outputs"]["o0"].endswith("(10,002 characters)")
    assert action["report"] is None
    assert action["report_path"].endswith("report.html")


def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for the page")
    run = make_run(tmp_path / "runs", [Call("a0", log="mine", report="mine")])
    log = run.folder / "logs" / "a0" / "1.log"
    for path in (log, Path(run.actions[0].report)):
        path.unlink()
        path.symlink_to(secret)
    assert "not for the page" not in json.dumps(document_of(run))


def test_texts_of_tasks_cannot_end_the_script(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!--\u2028&"
    run = make_run(tmp_path, [Call("a0", task=f"env.{evil}", log=evil, outputs={"o0": evil})])
    page = render_page(document_of(run))
    assert page.count("</script>") == 1
    assert page.count("<script>") == 1
    assert "<!--" not in page
    assert json.loads(embedded(evil)) == evil
