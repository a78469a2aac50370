"""Jobs and pods as plain objects, of the image of ``programs/kube/pod``, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .api import Api, Object, condition

__all__ = ["Space", "job", "over", "pod"]


def pod(
    name: str, image: str, *do: str, devices: Mapping[str, int] | None = None, labels: Mapping[str, str] | None = None
) -> Object:
    """``do`` are the arguments of the pod program."""
    limits = {key: str(count) for key, count in (devices or {}).items()}
    container = {"name": "main", "image": image, "args": list(do), "resources": {"limits": limits}}
    spec: Object = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "labels": dict(labels or {})}, "spec": spec}


def job(name: str, image: str, *do: str, devices: Mapping[str, int] | None = None, **more: Any) -> Object:
    """``more`` is added to the pods' specification."""
    template = pod(name, image, *do, devices=devices)
    template["spec"].update(more)
    spec = {"backoffLimit": 0, "template": {"metadata": {}, "spec": template["spec"]}}
    return {"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": name}, "spec": spec}


class Space:
    """One namespace, and the image that its pods have unless they are given another."""

    def __init__(self, api: Api, name: str, image: str) -> None:
        self.api = api
        self.name = name
        self.image = image

    @property
    def jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.name}/jobs"

    @property
    def pods(self) -> str:
        return f"/api/v1/namespaces/{self.name}/pods"

    @property
    def services(self) -> str:
        return f"/api/v1/namespaces/{self.name}/services"

    def log(self, name: str, *do: str, devices: Mapping[str, int] | None = None) -> Sequence[str]:
        """What a Job of this name wrote, once it has completed."""
        self.api.create(self.jobs, job(name, self.image, *do, devices=devices))
        done = self.api.until(self.jobs, over, name=name)
        (found,) = self.api.items(f"{self.pods}?labelSelector=job-name%3D{name}")
        written = self.api.text(f"{self.pods}/{found['metadata']['name']}/log").splitlines()
        assert condition(done, "Complete").get("status") == "True", (written, done["status"])
        return written


def over(found: Object) -> bool:
    return any(condition(found, kind).get("status") == "True" for kind in ("Complete", "Failed"))
