"""Runs, shown while they go on: a small server for this machine's browser. Reads only, and answers nobody else.

It listens on the loopback, answers to its own host name alone (a page of somebody else's that a name server leads here
is refused), and every path begins with a token that only the printed address has.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import localtime, strftime, time
from urllib.parse import quote, unquote, urlsplit

from ..kernel.errors import FlyteBuildError, InputError
from ..kernel.quantities import duration
from ..submit.history import Run
from .document import DetailsOf, LayersOf, details_of, document_of
from .rendering import embedded, render_page

__all__ = ["Pages", "serve"]

_SAFE = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
_LIST = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; }} body {{ font: 15px/1.5 system-ui, sans-serif; margin: 24px; max-width: 70em; }}
td, th {{ text-align: left; padding: 3px 22px 3px 0; }} th {{ font-weight: 400; opacity: .75; }}
.n {{ text-align: right; font-variant-numeric: tabular-nums; }} .n, td:nth-child(3) {{ white-space: nowrap; }}
.succeeded {{ color: light-dark(#1a7f4b, #3fb97c); }} .running {{ color: light-dark(#1f6fd6, #62a4ff); }}
.failed {{ color: light-dark(#c0362c, #f0746a); }} .aborted {{ color: light-dark(#8a5d00, #d9a53b); }}
@media (max-width: 600px) {{ body {{ margin: 12px; }} td, th {{ padding-right: 12px; }}
 th:nth-child(n + 4), td:nth-child(n + 4) {{ display: none; }} }}
</style></head><body><main><h1>{title}</h1><p id="said" role="status">{said}</p>
<table{hidden}><thead><tr><th>run</th><th>task</th><th>state</th><th>started</th>
<th class="n">took</th><th class="n">actions</th></tr></thead>
<tbody>{rows}</tbody></table></main><script>
// The same page again, so that what runs is seen to go on; nothing else is fetched, and a reader's place is kept.
setInterval(async () => {{
  if (document.hidden) return;
  let said;
  try {{
    const answer = await fetch(location.href), text = await answer.text();
    if (!answer.ok) said = text;
    else {{
      const now = new DOMParser().parseFromString(text, "text/html"), table = document.querySelector("table");
      said = now.getElementById("said").textContent;
      table.hidden = now.querySelector("table").hidden;
      const rows = now.querySelector("tbody"), before = document.querySelector("tbody");
      if (rows.innerHTML !== before.innerHTML && !before.contains(document.activeElement)) before.replaceWith(rows);
    }}
  }} catch {{ said = "the server does not answer"; }}
  const place = document.getElementById("said");
  if (place.textContent !== said) place.textContent = said;
}}, {seconds}000);
</script></body></html>
"""


_MARKS = {"succeeded": "✓", "failed": "✗", "aborted": "■", "running": "▶"}
_KINDS = {"killed": "failed", "timed out": "failed"}


class Pages(ThreadingHTTPServer):
    """The server; ``url`` is where a browser begins. Close it with ``shutdown()`` and ``server_close()``."""

    daemon_threads = True

    def __init__(
        self,
        runs: Callable[[], Sequence[Run]],
        find: Callable[[str], Run],
        *,
        port: int = 0,
        layers_of: LayersOf = lambda digest: (),
        details: DetailsOf = details_of,
        title: str = "Runs",
        seconds: int = 2,
        token: str | None = None,
        told: str = "",
    ) -> None:
        """``told`` stands above the list. ``details`` gives what :func:`details_of` does of one action; the list is
        asked for every ``seconds``."""
        self.runs, self.find, self.layers_of, self.details = runs, find, layers_of, details
        self.title, self.seconds, self.told = title, seconds, told
        self.token = token or secrets.token_urlsafe(24)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as e:
            raise InputError(f"--port: {port} cannot be listened on: {e.strerror or e}") from None

    @property
    def url(self) -> str:
        """The address of the list of runs."""
        return f"http://127.0.0.1:{self.server_address[1]}/{self.token}/"

    def url_of(self, run: str) -> str:
        """The address of one run's page."""
        return f"{self.url}run/{quote(run, safe='')}"


def serve(pages: Pages, stop: threading.Event) -> None:
    """Answer until ``stop`` is set."""
    worker = threading.Thread(target=pages.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    worker.start()
    try:
        while not stop.wait(0.2):
            pass
    finally:
        pages.shutdown()
        pages.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Pages
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        parts = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
        if (
            host not in ("127.0.0.1", "localhost")
            or not parts
            or not secrets.compare_digest(parts[0].encode(), self.server.token.encode())
        ):
            self._answer(HTTPStatus.NOT_FOUND, b"nothing here\n", "text/plain")
            return
        try:
            match parts[1:]:
                case [] | [""]:
                    self._html(self._list())
                case ["run", name]:
                    run = self.server.find(name)
                    api = f"/{self.server.token}/api/{quote(run.name, safe='')}"
                    document = document_of(run, light=True, layers_of=self.server.layers_of)
                    self._html(render_page(document, live=api))
                case ["api", name]:
                    self._json(document_of(self.server.find(name), light=True, layers_of=self.server.layers_of))
                case ["api", name, action]:
                    run = self.server.find(name)
                    found = next((a for a in run.actions if a.name == action), None)
                    if found is None:
                        self._answer(HTTPStatus.NOT_FOUND, b"no such action\n", "text/plain")
                    else:
                        self._json(self.server.details(run, found))
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, b"nothing here\n", "text/plain")
        except FlyteBuildError as e:
            self._answer(HTTPStatus.NOT_FOUND, f"{e.message}\n".encode(), "text/plain; charset=utf-8")

    def _list(self) -> str:
        runs, title = self.server.runs(), escape(self.server.title)
        said = " · ".join(filter(None, (self.server.told, "" if runs else "no runs yet")))
        hidden = "" if runs else " hidden"
        rows = "".join(self._row(run) for run in runs)
        return _LIST.format(title=title, rows=rows, said=escape(said), hidden=hidden, seconds=self.server.seconds)

    def _row(self, run: Run) -> str:
        started = strftime("%Y-%m-%d %H:%M:%S", localtime(run.started))
        state = run.state
        kind = _KINDS.get(state, state)
        link = f'<a href="run/{quote(run.name, safe="")}">{escape(run.name)}</a>'
        took = duration((run.ended or time()) - run.started) if run.ended or run.running else "–"
        cells = ("", link), ("", escape(run.task)), (kind, f"{_MARKS.get(kind, '·')} {escape(state)}"), ("", started)
        numbers = ("n", took), ("n", str(len(run.actions)))
        return (
            "<tr>"
            + "".join(f'<td class="{c}">{t}</td>' if c else f"<td>{t}</td>" for c, t in (*cells, *numbers))
            + "</tr>"
        )

    def _html(self, text: str) -> None:
        self._answer(HTTPStatus.OK, text.encode("utf-8", "replace"), "text/html; charset=utf-8")

    def _json(self, value: object) -> None:
        self._answer(HTTPStatus.OK, embedded(value).encode("utf-8", "replace"), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in {**_SAFE, "Content-Type": kind, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what a browser asks is not a person's affair."""
