"""A server on this machine with a few files, which can end a connection early."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves `files` (path → content); ends after `cut_after` bytes where that is not 0."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut_after = 0
        self.asked: list[tuple[str, str]] = []

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        path, asked = self.path.partition("?")[0], self.headers.get("Range", "")
        self.server.asked.append((path, asked))
        content = self.server.files.get(path)
        if content is None:
            self.send_error(404)
            return
        mark = f'"{hashlib.sha256(content).hexdigest()}"'
        start = int(asked[6:-1]) if asked and self.headers.get("If-Range") == mark else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", mark)
        self.end_headers()
        self.wfile.write(content[start:][: self.server.cut_after or None])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[FileServer]:
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
