"""A server for the page of one folder of results. It answers GET alone, and writes nothing."""

import ipaddress
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sweep.page import document
from sweep.page.snapshot import Snapshot

FIRST, PATIENCE = 0.5, 2.0  # seconds of reading before the page gets what is known by then, at first and later
OLD = 10.0  # seconds after which a changed record of a finished run is seen at the latest
HEADERS = {
    "Content-Security-Policy": document.LIVE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTML, CSS, JAVASCRIPT, JSON = "text/html", "text/css", "text/javascript", "application/json"


class Server(ThreadingHTTPServer):
    """Serves the page until `shutdown`. Raises OSError if the address cannot be used."""

    daemon_threads = True

    def __init__(self, snapshot: Snapshot, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.snapshot = snapshot
        self.names = {"localhost", host.lower(), socket.gethostname().lower()}
        self.hydra = threading.Lock()  # Hydra's state belongs to the process
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking for this machine's name, which takes seconds where no name server answers."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that is gone; any other error is a fault of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """The page's address."""
        host = self.server_name
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}/"

    def is_own_name(self, host: str) -> bool:
        """Whether a request for this host is for us.

        A page of another site can have its own name resolved to our address, and then ask for our answers. It asks
        under its name, so no names are accepted but those that we know, and addresses.
        """
        name = urlsplit(f"//{host}").hostname or ""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return True


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "sweep", ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Answer a request."""
        try:
            own = self.server.is_own_name(self.headers.get("Host", ""))
            asked = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        except ValueError:
            self._send(HTTPStatus.BAD_REQUEST, "text/plain", "the address cannot be read\n")
            return
        if not own:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "the host must be an address, or a name of this machine\n")
            return
        answer = self._answer(asked.path, query)
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "there is no such page\n")
        else:
            self._send(HTTPStatus.OK, *answer)

    def _answer(self, path: str, query: dict[str, str]) -> tuple[str, str] | None:
        """The kind and the content of what is asked for; None if there is none."""
        snapshot, key = self.server.snapshot, query.get("key", "")
        match path:
            case "/":
                return HTML, document.live(snapshot.store.root)
            case "/page.css":
                return CSS, (document.ASSETS / "page.css").read_text("utf-8")
            case "/page.js":
                return JAVASCRIPT, document.script()
            case "/vega.js":
                return JAVASCRIPT, document.vega()
            case "/runs":
                since = query.get("since", "")
                snapshot.refresh(PATIENCE if since else FIRST, patience=OLD if since else 0.0)
                return JSON, document.dumped(document.as_json(snapshot.news(since)))
            case "/run":
                detail = document.detail_of(snapshot, key)
                return (JSON, document.dumped(detail)) if detail else None
            case "/command":
                with self.server.hydra:
                    return JSON, document.dumped(document.command_of(snapshot, key, check=True))
            case _:
                return None

    def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
        content = text.encode(errors="backslashreplace")  # the folder's name may be in another encoding
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name in the base class)
        """Say nothing: the page asks every second."""
