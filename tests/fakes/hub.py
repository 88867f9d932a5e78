"""The part of the hub's HTTP API that fetching a repository needs, over files in memory."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"


class FakeHub:
    """Serves repositories, and remembers which files were downloaded."""

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        self.repositories = repositories
        self.downloaded: list[str] = []
        self.status = 200
        """Another one is the answer to everything."""
        self.address = ""

    def answer(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of a GET; HEAD leaves the body out."""
        if self.status != 200:
            return self.status, {}, b""
        parts = unquote(urlsplit(path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._api("/".join(parts[2:4]), parts[4])
        files = self.repositories.get("/".join(parts[:2]))
        name = "/".join(parts[4:])
        if files is None or name not in files:
            return self._missing()
        return 200, {"ETag": f'"{_digest(files[name])}"', "X-Repo-Commit": COMMIT}, files[name]

    def _api(self, repository: str, what: str) -> tuple[int, Mapping[str, str], bytes]:
        files = self.repositories.get(repository)
        if files is None:
            return self._missing()
        if what == "tree":
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": _digest(data)}
                for name, data in files.items()
            ]
            return 200, {}, json.dumps(tree).encode()
        facts = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
        return 200, {}, json.dumps(facts).encode()

    def _missing(self) -> tuple[int, Mapping[str, str], bytes]:
        return 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b""


@contextmanager
def served_hub(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[FakeHub]:
    """Serves on a free port of this host."""
    hub = FakeHub(repositories)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._reply(with_body=False)

        def do_GET(self) -> None:
            if not self.path.startswith("/api/"):
                hub.downloaded.append(unquote(urlsplit(self.path).path).split("/", 5)[-1])
            self._reply(with_body=True)

        def _reply(self, *, with_body: bool) -> None:
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _digest(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
