"""Fetching a file by its address, from a real server on this machine that misbehaves on purpose."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rosetta_ui.errors import (
    BadRequestError,
    Cancelled,
    WeightsCorruptError,
    WeightsUnavailableError,
)
from rosetta_ui.models.fetching import never_cancel, no_progress
from rosetta_ui.models.web_downloads import download

CONTENT = bytes(range(256)) * (5 << 12)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """One file of 5 MiB, with knobs."""

    content = CONTENT
    version = '"one"'
    cut_after = 0
    ranges: bool = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/model.pkl?download=1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.asked.append(asked)
        if "missing" in self.path:
            self.send_error(404)
            return
        same = self.headers.get("If-Range") == self.server.version
        start = int(asked[6:-1]) if asked and same and self.server.ranges else 0
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.version)
        self.end_headers()
        self.wfile.write(body[: self.server.cut_after or None])

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_file_arrives_whole_with_its_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = download(
        server.address,
        tmp_path,
        lambda done, total, _text: seen.append((done, total)),
        never_cancel,
        sha256=DIGEST,
    )
    assert path == tmp_path / "model.pkl"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(seen) == seen
    download(server.address, tmp_path, no_progress, never_cancel, sha256=DIGEST)
    assert len(server.asked) == 1, "a whole file is not asked for again"


def test_a_cut_connection_is_continued_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.cut_after = 2 << 20
    with pytest.raises(WeightsUnavailableError, match="ended after"):
        download(server.address, tmp_path, no_progress, never_cancel)
    assert not (tmp_path / "model.pkl").exists()
    server.cut_after = 0
    path = download(server.address, tmp_path, no_progress, never_cancel, sha256=DIGEST)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["", f"bytes={2 << 20}-"]


def test_a_stopped_download_keeps_its_part(server: Server, tmp_path: Path) -> None:
    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        download(server.address, tmp_path, no_progress, stop)
    assert (tmp_path / "model.pkl.part").stat().st_size == 1 << 20
    download(server.address, tmp_path, no_progress, never_cancel, sha256=DIGEST)
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".lock") == ["model.pkl"]


def test_two_versions_are_never_joined(server: Server, tmp_path: Path) -> None:
    server.cut_after = 2 << 20
    with pytest.raises(WeightsUnavailableError):
        download(server.address, tmp_path, no_progress, never_cancel)
    server.cut_after, server.version, server.content = 0, '"two"', CONTENT[::-1]
    path = download(server.address, tmp_path, no_progress, never_cancel)
    assert path.read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.cut_after, server.ranges = 2 << 20, False
    with pytest.raises(WeightsUnavailableError):
        download(server.address, tmp_path, no_progress, never_cancel)
    server.cut_after = 0
    path = download(server.address, tmp_path, no_progress, never_cancel, sha256=DIGEST)
    assert path.read_bytes() == CONTENT


def test_another_digest_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "other.pkl").write_bytes(b"mine")
    with pytest.raises(WeightsCorruptError) as raised:
        download(server.address, tmp_path, no_progress, never_cancel, sha256="0" * 64)
    assert DIGEST in raised.value.sentence
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".lock"] == ["other.pkl"]


def test_an_answer_of_404_and_a_dead_server_are_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailableError, match="404"):
        download(server.address.replace("model", "missing"), tmp_path, no_progress, never_cancel)
    with pytest.raises(WeightsUnavailableError, match="could not be fetched"):
        download("http://127.0.0.1:9/model.pkl", tmp_path, no_progress, never_cancel)


@pytest.mark.parametrize(
    "address", ["file:///etc/hostname", "ftp://x/y.pkl", "https:///y.pkl", "https://host/"]
)
def test_other_addresses_are_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError):
        download(address, tmp_path, no_progress, never_cancel)
    assert not list(tmp_path.iterdir())
