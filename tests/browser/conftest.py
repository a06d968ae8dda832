"""A headless Chromium, the app in a process of its own, and what no page may do."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tabs")]

from driving import CHROMIUM_FLAGS, PATIENCE, OpenPage, free_port, running  # noqa: E402

expect.set_options(timeout=30_000)  # a busy machine is slow, not broken

SEEN: list[str] = []  # goals of speed are printed, never asserted


@pytest.fixture
def saw() -> Callable[[str], None]:
    """Take a note of what was measured, for the end of the run."""
    return SEEN.append


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the browser tests measured."""
    if SEEN:
        terminalreporter.section("measured in the browser")
        for line in SEEN:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "install chromium: the tests marked browser drive the page in it"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def drawn_app() -> Iterator[str]:
    """The page over the drawn engine: fast, and the same everywhere."""
    with _drawn() as address:
        yield address


@pytest.fixture
def own_drawn_app() -> Iterator[str]:
    """The same for one test: what it changes in the engine is seen by no other."""
    with _drawn() as address:
        yield address


@pytest.fixture(scope="module")
def edit_app(zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`python app.py` on the fetched weights and an otherwise empty cache, with the tiny models."""
    cache = tmp_path_factory.mktemp("edit-app")
    (cache / "zoo").symlink_to(zoo.root / "zoo", target_is_directory=True)
    port, tiny = free_port(), HERE.parent / "matching" / "shared_models.py"
    command = [sys.executable, "app.py", "--port", str(port), "--cache-dir", str(cache)]
    command += ["--device", "cpu", "--no-fetch", "--models", str(tiny)]
    with running(command, port, 30 * PATIENCE) as address:
        yield address


@pytest.fixture
def watched_app(zoo: Any, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The real app, and the file in which it notes whether it inverts; what Edit holds for open
    pages stands in the .json beside it."""
    (tmp_path / "zoo").symlink_to(zoo.root / "zoo", target_is_directory=True)
    port, note = free_port(), tmp_path / "note"
    command = [sys.executable, str(HERE / "watched_app.py"), str(note), "--port", str(port)]
    command += ["--cache-dir", str(tmp_path), "--device", "cpu", "--no-fetch"]
    with running(command, port, 30 * PATIENCE) as address:
        yield address, note


@contextmanager
def _drawn() -> Generator[str]:
    port = free_port()
    with running([sys.executable, str(HERE / "drawn_app.py"), str(port)], port) as address:
        yield address


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open pages that must log no error, raise nothing and ask nothing of another machine."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def note(page: Page) -> None:
        page.on(
            "console",
            lambda m: complaints.append(f"console: {m.text}") if m.type == "error" else None,
        )
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: off_machine(request.url))

    def off_machine(url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            complaints.append(f"request: {url}")

    def open_at(address: str, width: int = 1440, height: int = 900, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        note(page)
        page.goto(address)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert complaints == []
