"""Tasks with pod templates. Each is one pod, and says what it finds."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import flyte
from kubernetes.client import V1PodSpec

IMAGE = flyte.Image.from_base("registry.example/pods@sha256:" + "6" * 64)


def _environment(name: str, spec: dict[str, object], **options: object) -> flyte.TaskEnvironment:
    template = flyte.PodTemplate(pod_spec=V1PodSpec(**spec), labels={"team": "x"})  # type: ignore[arg-type]
    return flyte.TaskEnvironment(name=name, image=IMAGE, pod_template=template, **options)  # type: ignore[arg-type]


shown = _environment(
    "pods",
    {
        "containers": [
            {
                "name": "primary",
                "workingDir": "/srv/here",
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "value": "$(A)2 $(LATER) $$(A)"},
                    {"name": "LATER", "value": "3"},
                    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "TEAM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
                    {
                        "name": "MEMORY",
                        "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
                    },
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}},
                    {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
                ],
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "data", "mountPath": "/opt/part", "subPath": "part"},
                    {"name": "settings", "mountPath": "/etc/settings"},
                    {"name": "keys", "mountPath": "/home/flyte/.keys"},
                    {"name": "memory", "mountPath": "/scratch"},
                ],
            },
            {
                "name": "side",
                "image": "tools:1",
                "command": ["sh", "-c", "echo $(GREETING) > /shared/said; id -u >> /shared/said; cat"],
                "env": [{"name": "GREETING", "value": "hello"}],
                "securityContext": {"runAsUser": 4711},
                "stdin": True,
                "volumeMounts": [{"name": "data", "mountPath": "/shared"}],
            },
        ],
        "initContainers": [
            {
                "name": "first",
                "image": "tools:1",
                "command": ["sh", "-c", "mkdir /seed/part; echo $0 > /seed/part/file"],
                "args": ["seeded"],
                "volumeMounts": [{"name": "data", "mountPath": "/seed"}],
            }
        ],
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "api", "items": [{"key": "tls.key", "path": "own.key"}]}},
        ],
        "nodeSelector": {"disk": "ssd"},
        "securityContext": {"runAsUser": 1234, "fsGroup": 5},
    },
    resources=flyte.Resources(memory="350Mi"),
    env_vars={"FROM_ENV": "1"},
)


@shown.task
def show() -> str:
    names = ("A", "B", "POD", "TEAM", "MEMORY", "TOKEN", "MODE", "FROM_ENV")
    found: dict[str, object] = {name: os.environ.get(name) for name in names}
    said = Path("/data/said")
    while not said.exists() or len(said.read_text().split()) < 2:
        time.sleep(0.01)
    found["said"] = said.read_text().split()
    found["part"] = Path("/opt/part/file").read_text()
    found["mode"] = Path("/etc/settings/mode").read_text()
    found["key"] = Path("/home/flyte/.keys/own.key").read_text()
    found["cwd"] = os.getcwd()
    found["uid"] = os.getuid()
    Path("/srv/here/own").write_text("x")
    Path("/scratch/own").write_text("x")
    found["memory"] = os.statvfs("/scratch").f_blocks * os.statvfs("/scratch").f_frsize
    found["passwd"] = Path("/etc/passwd").exists() and os.access("/usr/bin/env", os.X_OK)
    return json.dumps(found)


failing = _environment(
    "pods-failing",
    {
        "containers": [{"name": "primary"}],
        "initContainers": [{"name": "first", "image": "tools:1", "command": ["sh", "-c", "echo no such luck; exit 7"]}],
    },
)


@failing.task
def never() -> str:
    return "it ran"


ports = _environment(
    "pods-ports",
    {
        "containers": [
            {"name": "primary"},
            {"name": "server", "image": "python:1", "args": ["$(PORT)"], "ports": [{"containerPort": 18761}],
             "env": [{"name": "PORT", "value": "18761"}]},
        ]
    },
)  # fmt: skip


@ports.task
def ask() -> str:
    while True:
        try:
            with socket.create_connection(("127.0.0.1", 18761)) as s:
                if found := s.recv(100):
                    return found.decode()
        except ConnectionError:
            time.sleep(0.01)


named = flyte.TaskEnvironment(name="pods-named", image=IMAGE, pod_template="team-default")


@named.task
def who() -> str:
    return f"{os.environ['NAMED']} {os.environ['ALL']} {os.getcwd()}"
