"""The part of the Hugging Face hub that fetching a data set asks for, on loopback."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

__all__ = ["COMMIT", "HubServer"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"

_PATH = re.compile(r"/(?:api/)?datasets/([^/]+/[^/]+)(?:/(revision|tree|resolve)/([^/]+))?/?(.*)")


class HubServer:
    """Data sets by name, each as files by path; `closed` ones admit nobody.

    `asked` lists the paths of all requests.
    """

    def __init__(
        self, data_sets: dict[str, dict[str, bytes]], closed: tuple[str, ...] = ()
    ) -> None:
        self.data_sets = data_sets
        self.closed = closed
        self.asked: list[str] = []

    def __enter__(self) -> HubServer:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.hub = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        hub: HubServer = self.server.hub
        path = self.path.partition("?")[0]
        hub.asked.append(path)
        found = _PATH.fullmatch(path)
        name, what, revision, file = found.groups() if found else (None, None, None, "")
        if name in hub.closed:
            self.answer(403, X_Error_Code="GatedRepo")
        elif name not in hub.data_sets:
            self.answer(404, X_Error_Code="RepoNotFound")
        elif revision == "gone":
            self.answer(404, X_Error_Code="RevisionNotFound")
        elif what == "resolve":
            body = hub.data_sets[name][file]
            etag = f'"{hashlib.sha256(body).hexdigest()}"'
            self.answer(200, body, ETag=etag, X_Repo_Commit=COMMIT)
        else:
            about = _tree if what == "tree" else _info
            body = json.dumps(about(name, hub.data_sets[name])).encode()
            self.answer(200, body, Content_Type="application/json")

    do_HEAD = do_GET


def _info(name: str, files: dict[str, bytes]) -> Any:
    siblings = [{"rfilename": path} for path in files]
    return {"id": name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}


def _tree(name: str, files: dict[str, bytes]) -> Any:
    return [
        {"type": "file", "path": path, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
        for path, body in files.items()
    ]
