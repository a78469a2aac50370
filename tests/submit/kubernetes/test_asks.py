"""Nothing that a task asks for is dropped in silence: every field is known, every parameter is on the page."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import flyte
import pytest
from flyte._task import TaskTemplate
from flyteidl2.core import literals_pb2, security_pb2, tasks_pb2
from flyteidl2.task import task_definition_pb2

from flyte_build.submit.kubernetes.asks import ASKS, refuse
from flyte_build.submit.kubernetes.errors import Unplaceable

from .test_pod import made, spec_of

PAGE = Path(__file__).parents[3] / "docs" / "kubernetes.md"


@pytest.mark.parametrize("name", ASKS)
def test_every_field_of_a_message_is_answered(name: str) -> None:
    message = getattr(tasks_pb2, name, None) or getattr(security_pb2, name)
    assert set(ASKS[name]) == {f.name for f in message.DESCRIPTOR.fields}


def task(**more: Any) -> tasks_pb2.TaskTemplate:
    found = tasks_pb2.TaskTemplate(type="python", **more)
    found.id.name = "env.task"
    return found


REFUSED = [
    (task(container=tasks_pb2.Container(ports=[tasks_pb2.ContainerPort(container_port=80)])), "opens ports"),
    (task(container=tasks_pb2.Container(config=[literals_pb2.KeyValuePair(key="a")])), "has a container's `config`"),
    (
        task(security_context=security_pb2.SecurityContext(run_as=security_pb2.Identity(iam_role="r"))),
        "asks for an IAM",
    ),
    (task(sql=tasks_pb2.Sql(statement="select 1")), "is a query"),
]


@pytest.mark.parametrize(("asked", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_no_pod_gives_is_refused_by_name(asked: tasks_pb2.TaskTemplate, said: str) -> None:
    with pytest.raises(Unplaceable, match=f"^env.task {said}") as e:
        refuse(asked)
    assert e.value.hint == "`flyte run` submits it to a Flyte backend"


def test_a_plug_ins_task_is_refused_and_one_that_is_reused_is_not() -> None:
    spark = task()
    spark.custom.update({"sparkConf": {}})
    with pytest.raises(Unplaceable, match=r"^env\.task is a task of a plug-in, which a Flyte backend runs"):
        refuse(spark)
    spark.reuse_policy.SetInParent()
    refuse(spark)


def test_a_job_is_made_of_nothing_that_is_refused() -> None:
    spec = task_definition_pb2.TaskSpec.FromString(spec_of())
    spec.task_template.container.ports.add(container_port=80)
    with pytest.raises(Unplaceable, match="opens ports"):
        made(spec.SerializeToString())


def named() -> set[str]:
    """Everything that a person can say of a task to the SDK."""
    environment = [f.name for f in dataclasses.fields(flyte.TaskEnvironment) if not f.name.startswith("_")]
    decorator = list(inspect.signature(flyte.TaskEnvironment.task).parameters)
    override = list(inspect.signature(TaskTemplate.override).parameters)
    kinds = (flyte.Resources, flyte.PodTemplate, flyte.Secret, flyte.Timeout, flyte.RetryStrategy)
    parts = [f"{kind.__name__}.{f.name}" for kind in kinds for f in dataclasses.fields(kind)]
    return {*environment, *decorator, *override, *parts} - {"self", "_func", "kwargs"}


def test_every_parameter_of_the_sdk_is_on_the_page() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## What a task asks for")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == named()


def test_every_row_of_the_page_names_a_test_and_says_what_that_holds() -> None:
    from tests.cluster.test_faults import ROWS

    section = PAGE.read_text(encoding="utf-8").partition("### Tried on a real cluster")[2]
    text = "".join(p.read_text(encoding="utf-8") for p in (PAGE.parents[1] / "tests" / "cluster").glob("test_*.py"))
    assert set(re.findall(r"def (\w+)\(", text)) >= set(re.findall(r"`(test_[a-z_]+)", section))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if "verdict[" in line]
    told = {re.findall(r"verdict\[([^]]+)\]", row[5])[0]: row for row in rows}
    assert list(told) == list(ROWS)
    for name, row in ROWS.items():
        _, code, whose, again, within, _ = told[name]
        assert (code, whose, again) == (f"`{row.code}`", row.whose, "by its retries" if row.again else "no"), name
        assert within in ("", "the target's limit") or within == f"{row.within:g} s", name
