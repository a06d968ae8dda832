"""Files that a person names by an address: fetched once, resumed after any interruption.

Only http and https. The unfinished part lies beside the target as `NAME.part`, with the server's
mark of that version (`NAME.part.json`), so that two versions are never joined.
"""

from __future__ import annotations

import json
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from rosetta_ui.errors import BadRequestError, WeightsUnavailableError
from rosetta_ui.models.disk import (
    digest_of,
    locked,
    move_whole,
    require_space,
    write_whole,
    writing_to,
)
from rosetta_ui.models.fetching import CancelCheck, Progress, wrong_digest

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30
MOST_BYTES = 16 << 30


def is_address(text: str) -> bool:
    """Whether a text is an address rather than a path."""
    return "://" in text


def download(
    address: str,
    folder: Path,
    on_progress: Progress,
    cancel: CancelCheck,
    *,
    sha256: str = "",
) -> Path:
    """Fetch a file, continuing what an earlier call began.

    Args:
        address: http or https.
        folder: where the file goes, under its own name.
        on_progress: gets bytes done, bytes in all (0 where the server does not say), and words.
        cancel: called every mebibyte; raises `Cancelled` to stop, the part is kept.
        sha256: expected digest, where one is known.

    Returns:
        The whole file.

    Raises:
        BadRequestError: no http(s) address, or one without a file name.
        WeightsUnavailableError: the server cannot be reached, refuses, or sends less than it said.
        WeightsCorruptError: the digest is another one; the file is not kept.
        StoreError: the folder cannot be written or the disk is full.
    """
    target = folder / _file_name(address)
    part = target.with_name(target.name + ".part")
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f".{target.name}.lock", cancel):
            if not target.is_file():
                _receive(address, part, on_progress, cancel)
                if sha256 and (found := digest_of(part)) != sha256:
                    _forget(part)
                    raise wrong_digest(target.name, sha256, found)
                move_whole(part, target)
                _forget(part)
            elif sha256 and (found := digest_of(target)) != sha256:
                raise wrong_digest(target.name, sha256, found)
    return target


def _file_name(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadRequestError(
            f"'{address[:80]}' is no address that files are fetched from.",
            "Give one that begins with https://, or the path of a file on this machine.",
        )
    name = Path(unquote(parts.path)).name
    if not name or name.startswith("."):
        raise BadRequestError(
            f"The address '{address[:80]}' names no file.", "Give the file itself."
        )
    return name


def _receive(address: str, part: Path, on_progress: Progress, cancel: CancelCheck) -> None:
    mark = part.with_name(part.name + ".json")
    done = part.stat().st_size if part.is_file() and mark.is_file() else 0
    headers = {"Accept-Encoding": "identity"}
    if done:
        # If-Range: a server whose file has changed since sends it whole instead.
        headers |= {"Range": f"bytes={done}-", "If-Range": json.loads(mark.read_text("utf-8"))}
    try:
        with urlopen(Request(address, headers=headers), timeout=TIMEOUT_SECONDS) as answer:
            if answer.status != 206:
                done = 0
            total = done + int(answer.headers.get("Content-Length") or 0)
            if total > MOST_BYTES:
                raise BadRequestError(
                    f"The file has {total:,} bytes.", "No checkpoint is as large."
                )
            require_space(part.parent, total - done)
            version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            if not done:
                part.unlink(missing_ok=True)
                mark.unlink(missing_ok=True)
                if version and not version.startswith("W/"):
                    write_whole(mark, json.dumps(version).encode())
            _copy(answer, part, done, total, on_progress, cancel)
    except HTTPError as error:
        raise WeightsUnavailableError(
            f"The server answers {error.code} {error.reason} for {address}.",
            "Check the address, or download the file by hand and give its path.",
        ) from error
    except (URLError, TimeoutError, HTTPException, ConnectionError) as error:
        raise WeightsUnavailableError(
            f"{address} could not be fetched: {getattr(error, 'reason', error)}.",
            "What has arrived is kept: run the same command again, or give a file's path.",
        ) from error


def _copy(
    answer: IO[bytes],
    part: Path,
    done: int,
    total: int,
    on_progress: Progress,
    cancel: CancelCheck,
) -> None:
    with part.open("ab") as file:
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            file.flush()
            done += len(chunk)
            on_progress(done, total, f"Fetching {part.name.removesuffix('.part')}")
            cancel()
    if total and done != total:
        raise WeightsUnavailableError(
            f"The connection ended after {done:,} of {total:,} bytes.",
            "What has arrived is kept: run the same command again.",
        )


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(part.name + ".json").unlink(missing_ok=True)
