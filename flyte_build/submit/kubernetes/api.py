"""A cluster's API, spoken with plain dicts: requests that are sent again where that is safe, and streams of lines.

Where the cluster is and who one is comes from the official client: kubeconfig, exec plug-ins, tokens, certificates,
the service account inside of a cluster. Its typed models and its watch are not used: they change, reject fields that
they do not know, and give up on lines that were cut. Blocking, and good for any number of threads.

Rules: an idle connection that the server closed is no error (it closes them after some 90 s); 429 and 503 wait as long
as ``Retry-After`` says; what may not have been done is sent again only where doing it twice is doing it once.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from ...kernel.errors import InputError
from .refusals import JITTER, TRIES, ApiError, again, pause, refusal, unreachable, used_up
from .wire import Answer, asking

__all__ = ["ANSWER_SECONDS", "JITTER", "ApiError", "Cluster", "connect", "used_up"]

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 60.0
_LINE, _PIECE = 64 << 20, 1 << 18


class Cluster:
    """One API server, and a namespace that is meant where none is said.

    ``host`` is its URL, ``pool`` an ``urllib3.PoolManager`` that trusts it, ``credentials`` gives the headers of
    whoever asks, each time anew: tokens run out.
    """

    def __init__(
        self,
        host: str,
        pool: Any,
        credentials: Callable[[], Mapping[str, str]] = dict,
        *,
        namespace: str = "default",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.host = host.rstrip("/")
        self.namespace = namespace
        self._pool = pool
        self._credentials = credentials
        self._sleep = sleep
        self.below = urlsplit(self.host).path
        self._straight: tuple[Any, Any] | None = None

    # -- what one does with objects -----------------------------------------------------------------------

    def path(self, kind: str, name: str = "", *, namespace: str | None = None) -> str:
        """The path of objects of ``kind`` (``batch/v1/jobs``, ``v1/pods``) in the namespace, or of one."""
        group, version, plural = f"/{kind}".rsplit("/", 2)
        root = f"/apis{group}" if group else "/api"
        below = f"{root}/{version}/namespaces/{namespace or self.namespace}/{plural}"
        return f"{below}/{name}" if name else below

    def create(self, kind: str, value: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Raises :class:`ApiError`: 409 ``AlreadyExists`` may be what an earlier try of the same request made."""
        return self.request("POST", self.path(kind), {"dryRun": "All"} if dry_run else {}, value)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object, or ``None`` where there is none."""
        try:
            return self.request("GET", self.path(kind, name))
        except ApiError as e:
            if e.status != 404:
                raise
            return None

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        """Change what ``change`` says of it (a JSON merge patch, RFC 7396). Raises :class:`ApiError`."""
        self.request("PATCH", self.path(kind, name), body=change)

    def delete(self, kind: str, name: str, *, grace: int | None = None) -> None:
        """Delete it and what it owns, the owner last; that it is gone already is as well."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            self.request("DELETE", self.path(kind, name), body=options)
        except ApiError as e:
            if e.status != 404:
                raise

    def pages(self, kind: str, query: Mapping[str, str], limit: int = 500) -> Iterator[dict[str, Any]]:
        """The list of a kind in pieces; each has ``items`` and ``metadata.resourceVersion``."""
        more = ""
        while True:
            asked = {**query, "limit": str(limit), **({"continue": more} if more else {})}
            page = self.request("GET", self.path(kind), asked)
            yield page
            more = str((page.get("metadata") or {}).get("continue") or "")
            if not more:
                return

    # -- how it is said -----------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """One request, and its answer's JSON. Raises :class:`ApiError`, also for a server that does not answer."""
        failure: ApiError | None = None
        for attempt in range(TRIES):
            if attempt:
                self._sleep(pause(attempt, failure))
            try:
                with self._answer(method, path, query, body, ANSWER_SECONDS) as answer:
                    found = json.loads(answer.read() or b"{}")
                    return found if isinstance(found, dict) else {}
            except ApiError as e:
                if not again(e, attempt):
                    raise
                failure = e
            except ValueError as e:
                raise ApiError(0, "BadAnswer", f"{method} {self.host}{path}: expected JSON, found: {e}") from None
        assert failure is not None
        raise failure

    def lines(self, path: str, query: Mapping[str, str], seconds: float) -> Iterator[bytes]:
        """A streamed answer's lines as they come, at most ``seconds`` without one. An end in a line's middle is an end.

        Raises :class:`ApiError` where it cannot begin, and OSError where it breaks off.
        """
        kept = b""
        for piece in self._pieces(path, query, seconds):
            *whole, kept = (kept + piece).split(b"\n")
            yield from whole
            if len(kept) > _LINE:
                raise OSError(f"a line of {path} is longer than {_LINE} bytes")

    def _pieces(self, path: str, query: Mapping[str, str], seconds: float) -> Iterator[bytes]:
        """What is streamed, as much of it at a time as is there. Over a connection of its own: others' libraries take a
        watch apart line by line, which costs more than most of its lines say."""
        import urllib3

        where = f"{self.host}{path}"
        try:
            made = self.connection()
        except OSError as e:
            raise unreachable("GET", where, e) from None
        if made is None:
            with self._answer("GET", path, query, None, seconds) as answer:
                try:
                    yield from answer.stream(_PIECE, decode_content=True)
                except urllib3.exceptions.HTTPError as e:
                    raise OSError(str(e)) from None
            return
        told = Answer()
        try:
            made.sock.settimeout(seconds)
            made.sock.sendall(asking("GET", self.target(path, query), self.head()))
            while not told.over:
                data = made.sock.recv(_PIECE)
                told.take(data) if data else told.end()
                if told.over or 200 <= told.status < 300:
                    if not 200 <= told.status < 300:
                        when = told.headers.get("retry-after")
                        raise refusal("GET", where, told.status, told.reason, told.said(), when)
                    yield told.said()
                if not (data or told.over):
                    raise OSError("the connection was closed")
        except (OSError, ValueError) as e:
            if not told.status:
                raise unreachable("GET", where, e) from None
            raise OSError(str(e)) from None
        finally:
            made.close()

    def text(self, path: str, query: Mapping[str, str], seconds: float) -> bytes:
        """An answer that is no JSON, whole: a log, also one that does not end in a line's end.

        Raises :class:`ApiError` where it cannot begin, and OSError where it breaks off.
        """
        import urllib3

        with self._answer("GET", path, query, None, seconds) as answer:
            try:
                found: bytes = answer.read()
            except urllib3.exceptions.HTTPError as e:
                raise OSError(str(e)) from None
            return found

    def _send(self, method: str, target: str, **more: Any) -> Any:
        """By the connections to the one server there is: a manager of pools looks for them anew each time, which costs
        a third of a request. Where a proxy is between, how the target is written is the manager's to know."""
        if self._pool.proxy is not None:
            return self._pool.request(method, f"{self.host}{target}", **more)
        return self._server().urlopen(method, f"{self.below}{target}", **more)

    def _server(self) -> Any:
        if self._straight is None or self._straight[0] is not self._pool:
            self._straight = self._pool, self._pool.connection_from_url(self.host)
        return self._straight[1]

    def connection(self) -> Any:
        """A new connection to the server, for whoever asks alone: ``sock`` is its socket. ``None`` where there is none
        to be had: a proxy is between, another library's TLS, or another urllib3. Raises OSError."""
        import urllib3

        if self._pool.proxy is not None:
            return None
        opens = getattr(self._server(), "_new_conn", None)  # urllib3's own; another version may have none
        if opens is None:
            return None
        made = opens()
        made.timeout = CONNECT_SECONDS
        try:
            made.connect()
        except urllib3.exceptions.HTTPError as e:
            raise OSError(str(e)) from None
        return made if isinstance(made.sock, socket.socket) else None

    def headers(self) -> dict[str, str]:
        """What each request says of who asks, and of what is wanted."""
        return {"Accept": "application/json", "User-Agent": "flyte-build", **self._credentials()}

    def head(self) -> bytes:
        """The same as lines, for requests over a ``connection``. Raises ValueError for what is more than a line."""
        told = {"Host": urlsplit(self.host).netloc.rpartition("@")[2], "Accept-Encoding": "identity", **self.headers()}
        if any(end in text for text in told.values() for end in "\r\n"):
            raise ValueError("expected credentials of one line")
        return "".join(f"{name}: {text}\r\n" for name, text in told.items()).encode("latin-1")

    def target(self, path: str, query: Mapping[str, str]) -> str:
        """What is asked for over a ``connection``."""
        return f"{self.below}{path}?{urlencode(query)}" if query else f"{self.below}{path}"

    @contextmanager
    def _answer(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None, seconds: float
    ) -> Iterator[Any]:
        import urllib3

        url = path + (f"?{urlencode(query)}" if query else "")
        headers = self.headers()
        if body is not None:
            headers["Content-Type"] = f"application/{'merge-patch+' if method == 'PATCH' else ''}json"
        try:
            answer = self._send(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds),
                preload_content=False,
                retries=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as e:
            raise unreachable(method, f"{self.host}{path}", e) from None
        try:
            if not 200 <= answer.status < 300:
                text = answer.read(1 << 16, decode_content=True)
                told = answer.headers.get("Retry-After")
                raise refusal(method, f"{self.host}{path}", answer.status, answer.reason, text, told)
            yield answer
        except BaseException:
            answer.close()  # what was not read cannot be used again
            raise
        finally:
            answer.release_conn()


def connect(*, context: str | None = None, kubeconfig: str | None = None, namespace: str | None = None) -> Cluster:
    """The cluster of a kubeconfig's context, or the one that this process runs in where there is no kubeconfig.

    Raises :class:`InputError` without the official client, or for a kubeconfig that cannot be used.
    """
    try:
        client: Any = importlib.import_module("kubernetes.client")
        config: Any = importlib.import_module("kubernetes.config")
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        raise InputError(
            "runs on a cluster need the official Kubernetes client, which is not installed",
            hint="pip install 'flyte-build[kubernetes]'",
        ) from None
    settings = client.Configuration()
    settings.retries = False
    settings.connection_pool_maxsize = 64
    inside = None
    try:
        if kubeconfig is None and context is None and _inside():
            config.load_incluster_config(client_configuration=settings)
            with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace", encoding="utf-8") as f:
                inside = f.read().strip()
        else:
            config.load_kube_config(kubeconfig, context, settings, persist_config=False)
            contexts, current = config.list_kube_config_contexts(kubeconfig)
            chosen = next((c for c in contexts if c["name"] == context), current)
            inside = chosen["context"].get("namespace")
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(
            f"the kubeconfig {kubeconfig or '($KUBECONFIG, or ~/.kube/config)'} cannot be used: {e}",
            hint="`kubectl config get-contexts` shows what is in it",
        ) from None

    def credentials() -> dict[str, str]:
        told = settings.auth_settings()
        return {str(v["key"]): str(v["value"]) for v in told.values() if v.get("in") == "header" and v.get("value")}

    pool = client.ApiClient(settings).rest_client.pool_manager
    return Cluster(settings.host, pool, credentials, namespace=namespace or inside or "default")


def _inside() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ
