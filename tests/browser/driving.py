"""How the tests start the app and how long they wait; shared by every browser test."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]
PATIENCE = 5  # a goal of n seconds is waited for n * PATIENCE; what was seen is printed

OpenPage = Callable[..., Page]


def serious_violations(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core finds on a page that is serious or critical: rules and the nodes they fail."""
    found = Axe().run(page).response["violations"]
    return [
        (v["id"], [n["html"][:160] for n in v["nodes"][:4]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: list[str],
    port: int,
    seconds: float = 60,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Start a server, wait until it answers, end it afterwards."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ROSETTA_", "GRADIO_"))}
    clean |= environment or {}
    log = PROJECT / "tests" / "artefacts" / f"server-{port}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=PROJECT, env=clean, stdout=out, stderr=out)
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(address, server, seconds, log)
            yield address
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    log.unlink()


def wait_for(address: str, server: subprocess.Popen[bytes], seconds: float, log: Path) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(address, timeout=2).close()
            return
        time.sleep(0.05)
    raise AssertionError(f"{address} did not answer within {seconds} s: {log.read_text()}")
