"""The channel to a run's driver by TLS: who is trusted for it, and what a pod is told."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from flyte_build.submit.kubernetes.endpoint import SECRETS, context_of, make_endpoint, token_of
from flyte_build.submit.kubernetes.tls import make_certificates, trusting
from flyte_build.submit.service import Service, serve_on
from tests.support.apiserver import ApiServer
from tests.support.engine import World


def _ask(folder: Path, context: ssl.SSLContext, url: str, trusted: str | None) -> int:
    """The status that a client gets which trusts the authority ``trusted`` alone."""
    world = World(folder)

    async def go() -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        address = url.format(port=listener.getsockname()[1])
        verify = ssl.create_default_context(cadata=trusted) if trusted else True
        async with serve_on(Service(world.engine, world.run), listener, "token", context):
            async with httpx.AsyncClient(verify=verify, trust_env=False) as client:
                return (await client.get(address)).status_code

    return asyncio.run(asyncio.wait_for(go(), 20))


def test_only_who_has_the_runs_authority_reaches_the_service_and_only_that_one(tmp_path: Path) -> None:
    made, other = make_certificates("127.0.0.1"), make_certificates("127.0.0.1")
    context = made.context()
    assert _ask(tmp_path / "a", context, "https://127.0.0.1:{port}/wrong/x", made.authority) == 401
    assert _ask(tmp_path / "b", context, "https://127.0.0.1:{port}/token/x", made.authority) == 501
    for number, trusted in enumerate((other.authority, None)):
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            _ask(tmp_path / f"c{number}", context, "https://127.0.0.1:{port}/token/x", trusted)
    with pytest.raises(httpx.HTTPError):
        _ask(tmp_path / "d", context, "http://127.0.0.1:{port}/token/x", None)


@pytest.mark.parametrize(("host", "matches"), [("127.0.0.1", True), ("10.0.0.1", False), ("driver.team.svc", False)])
def test_a_certificate_is_for_the_address_that_pods_call(tmp_path: Path, host: str, matches: bool) -> None:
    made = make_certificates(host)
    if matches:
        assert _ask(tmp_path, made.context(), "https://127.0.0.1:{port}/x", made.authority) == 401
    else:
        with pytest.raises(httpx.ConnectError, match=r"IP address mismatch|not valid for"):
            _ask(tmp_path, made.context(), "https://127.0.0.1:{port}/x", made.authority)


def test_a_later_driver_has_the_same_certificate_and_the_key_is_in_the_secret_alone(api: ApiServer) -> None:
    cluster = api.cluster(sleep=lambda _: None)
    made = make_endpoint(cluster, "r1", "10.0.0.1", 80, "token", tls=True)
    held = made["stringData"]
    assert held["endpoint"] == "https://10.0.0.1:80/token"
    assert set(held) == {"endpoint", "ca.crt", "tls.crt", "tls.key", "config.yaml"}
    stored = {k: v for k, v in api.objects[SECRETS][made["metadata"]["name"]].items() if k != "stringData"}
    api.put(SECRETS, {**stored, "data": {k: base64.b64encode(v.encode()).decode() for k, v in held.items()}})
    again = make_endpoint(cluster, "r1", "10.0.0.1", 80, "another", tls=True)
    assert token_of(again) == "token"
    assert context_of(again) is not None
    assert {k: base64.b64decode(v).decode() for k, v in again["data"].items()} == held
    assert context_of(make_endpoint(cluster, "r2", "10.0.0.1", 80, "token")) is None


def test_a_pod_is_told_of_the_authority_and_of_nothing_else_that_is_secret() -> None:
    pod: dict[str, Any] = {"volumes": [{"name": "d"}]}
    main: dict[str, Any] = {
        "env": [{"name": "_U_INSECURE", "value": "true"}, {"name": "_U_EP_OVERRIDE", "value": "$(X)/as/a0"}]
    }
    trusting(main, pod, "r1-run")
    assert {v["name"]: v["value"] for v in main["env"]} == {
        "_U_EP_OVERRIDE": "$(X)/as/a0",
        "FLYTECTL_CONFIG": "/etc/flyte/run/config.yaml",
        "FLYTE_ADMIN_CACERTFILEPATH": "/etc/flyte/run/ca.crt",
        "FLYTE_ADMIN_ENDPOINT": "$(_U_EP_OVERRIDE)",
        "FLYTE_ADMIN_DISABLEKEYRING": "true",
        "FLYTE_IMAGE_BUILDER": "remote",
    }
    _, volume = pod["volumes"]
    assert volume["secret"]["secretName"] == "r1-run"
    assert [item["key"] for item in volume["secret"]["items"]] == ["ca.crt", "config.yaml"]
    assert main["volumeMounts"] == [{"name": volume["name"], "mountPath": "/etc/flyte/run", "readOnly": True}]
