"""Who reaches whom: pods this machine and each other, by addresses and by names; the store from both sides."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import obstore
import pytest
from obstore.store import S3Store

from tests.cluster.cluster import Cluster
from tests.cluster.jobs import Space, pod
from tests.cluster.s3 import Store, signed

pytestmark = pytest.mark.integration


class Greeter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"hello {self.client_address[0]}".encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@contextmanager
def greeter(host: str) -> Iterator[int]:
    with HTTPServer((host, 0), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def serving(space: Space, name: str, **spec: str) -> str:
    """A pod that answers `I am NAME` at port 8080; gives its address once it runs."""
    body = pod(name, space.image, f"serve=:8080,I am {name}", labels={"app": name})
    body["spec"].update(spec)
    space.api.create(space.pods, body)
    found = space.api.until(space.pods, lambda p: p["status"]["phase"] == "Running", name=name)
    return str(found["status"]["podIP"])


def test_a_pod_reaches_a_program_on_this_machine(cluster: Cluster, space: Space) -> None:
    with greeter(cluster.site.gateway) as port:
        (line,) = space.log("asks", f"get=http://{cluster.site.gateway}:{port}/")
    prefix = cluster.site.pods.rpartition(".")[0]
    assert line.startswith(f"200 hello {prefix}.")
    assert line != f"200 hello {cluster.site.gateway}"


def test_pods_reach_each_other_and_this_machine_reaches_pods(space: Space) -> None:
    address = serving(space, "server")
    assert space.log("asks", f"get=http://{address}:8080/") == ["200 I am server"]
    assert httpx.get(f"http://{address}:8080/", trust_env=False).text == "I am server\n"


def test_a_service_is_reached_by_its_name(space: Space) -> None:
    serving(space, "web")
    ports = [{"port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": "web"}, "ports": ports}
    made = space.api.create(space.services, {"metadata": {"name": "front"}, "spec": spec})
    names = ("front", f"front.{space.name}", f"front.{space.name}.svc.cluster.local", made["spec"]["clusterIP"])
    assert space.log("asks", *(f"get=http://{name}/" for name in names)) == ["200 I am web"] * 4


def test_a_pod_of_a_headless_service_has_a_name(space: Space) -> None:
    """What a gang of workers finds each other by."""
    spec = {"clusterIP": "None", "selector": {"app": "first"}, "publishNotReadyAddresses": True}
    space.api.create(space.services, {"metadata": {"name": "gang"}, "spec": spec})
    address = serving(space, "first", hostname="worker-0", subdomain="gang")
    assert space.log("asks", "lookup=worker-0.gang", "lookup=gang") == [address, address]


def test_nothing_beyond_this_machine_has_a_name(space: Space) -> None:
    assert space.log("asks", "nobody=registry.example", "nobody=front.elsewhere.svc.cluster.local") == ["nobody"] * 2


def test_a_pod_asks_the_api_as_its_account(space: Space) -> None:
    """At the address of the API's Service, which its certificate names."""
    lines = space.log("asks", "env=KUBERNETES_SERVICE_HOST", "api=/version", f"api={space.pods}")
    assert lines[0].startswith("KUBERNETES_SERVICE_HOST=10.232.")
    assert '"major": "1"' in lines[1]
    assert lines[2].startswith("403 ")
    assert f"system:serviceaccount:{space.name}:default" in lines[2]


def opened(store: Store) -> S3Store:
    return S3Store(
        store.bucket,
        endpoint=store.endpoint,
        region=store.region,
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
        client_options={"allow_http": True},
    )


def test_what_was_stored_is_there(cluster: Cluster, space: Space) -> None:
    store = opened(cluster.store)
    data = bytes(range(256)) * 50_000
    obstore.put(store, "a/b/big.bin", data)
    assert obstore.get(store, "a/b/big.bin").bytes().to_bytes() == data
    assert [row["path"] for page in obstore.list(store, "a/") for row in page] == ["a/b/big.bin"]
    assert obstore.get_range(store, "a/b/big.bin", start=256, end=258).to_bytes() == b"\x00\x01"
    obstore.delete(store, "a/b/big.bin")
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "a/b/big.bin")


def test_the_store_lets_nobody_in_without_its_keys(cluster: Cluster) -> None:
    known = cluster.store
    assert signed(known, "GET", f"/{known.bucket}").status_code == 200
    stranger = Store(known.endpoint, known.access_key_id, "0" * 40)
    assert signed(stranger, "GET", f"/{known.bucket}").status_code == 403
    assert httpx.get(f"{known.endpoint}/{known.bucket}", trust_env=False).status_code == 403
